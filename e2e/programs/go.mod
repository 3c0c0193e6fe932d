module github.com/mustermesh/muster/e2e/programs

go 1.26

tool (
	github.com/DataDog/zstd
	github.com/benhoyt/goawk
	github.com/google/go-jsonnet/cmd/jsonnet
	github.com/itchyny/gojq/cmd/gojq
	github.com/mattn/go-sqlite3
)

require github.com/yuin/gopher-lua v1.1.1

require (
	github.com/DataDog/zstd v1.5.5 // indirect
	github.com/benhoyt/goawk v1.29.1 // indirect
	github.com/fatih/color v1.12.0 // indirect
	github.com/google/go-jsonnet v0.20.0 // indirect
	github.com/itchyny/gojq v0.12.17 // indirect
	github.com/itchyny/timefmt-go v0.1.6 // indirect
	github.com/mattn/go-colorable v0.1.8 // indirect
	github.com/mattn/go-isatty v0.0.20 // indirect
	github.com/mattn/go-runewidth v0.0.15 // indirect
	github.com/mattn/go-sqlite3 v1.14.22 // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	golang.org/x/sys v0.20.0 // indirect
	gopkg.in/yaml.v2 v2.2.7 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
	sigs.k8s.io/yaml v1.1.0 // indirect
)
