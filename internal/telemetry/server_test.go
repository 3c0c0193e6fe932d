package telemetry

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

const patience = 20 * time.Second

// serving runs instruments until the test ends, and gives their address.
func serving(t *testing.T, cfg Config) (*Instruments, string) {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	in := open(t, cfg)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return in, in.Addr()
}

// ask sends one request as it is, and gives status and body.
func ask(t *testing.T, addr, request string) (status int, body string) {
	t.Helper()
	status, body, err := try(t, addr, request)
	if err != nil {
		t.Fatal(err)
	}
	return status, body
}

func try(t *testing.T, addr, request string) (status int, body string, err error) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		return 0, "", err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func get(path, host, headers string) string {
	return "GET " + path + " HTTP/1.1\nHost: " + host + "\nConnection: close\n" + headers + "\n"
}

func TestMetricsAndHealthAreServed(t *testing.T) {
	in, addr := serving(t, Config{})
	in.Collect(func() []Sample { return []Sample{{Name: "muster_jobs_open", Help: "Jobs.", Kind: Gauge, Value: 3}} })
	for _, want := range []string{"muster_jobs_open 3\n", "go_goroutines ", "process_open_fds "} {
		if status, body := ask(t, addr, get("/metrics", addr, "")); status != 200 || !strings.Contains(body, want) {
			t.Errorf("/metrics gave %d without %q", status, want)
		}
	}
	if status, body := ask(t, addr, get("/metrics", addr, "Accept: application/openmetrics-text; version=1.0.0\n")); status != 200 || !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("OpenMetrics: got %d, ending in %q", status, body[max(0, len(body)-20):])
	}
	if status, body := ask(t, addr, get("/healthz", addr, "")); status != 200 || body != "ok\n" {
		t.Errorf("/healthz: got %d %q", status, body)
	}
	in.Health(func() error { return errors.New("the disk is full") })
	if status, body := ask(t, addr, get("/healthz", addr, "")); status != 503 || body != "the disk is full\n" {
		t.Errorf("/healthz of a sick node: got %d %q", status, body)
	}
}

func TestOnlyWhatWasAskedForIsServed(t *testing.T) {
	_, addr := serving(t, Config{})
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/"} {
		if status, _ := ask(t, addr, get(path, addr, "")); status != 404 {
			t.Errorf("%s: got %d, want 404", path, status)
		}
	}
	if status, _ := ask(t, addr, "POST /metrics HTTP/1.1\nHost: localhost\nContent-Length: 0\nConnection: close\n\n"); status != 405 {
		t.Errorf("POST: got %d, want 405", status)
	}
	// The answer may be lost, as the server does not read the request to its end.
	status, _, err := try(t, addr, get("/metrics", addr, "X: "+strings.Repeat("x", 64<<10)+"\n"))
	if err == nil && status != 431 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a long header: got %d, %v; want 431, or a closed connection", status, err)
	}
}

func TestProfilesAreServedOneAtATime(t *testing.T) {
	_, addr := serving(t, Config{Pprof: true})
	for path, want := range map[string]int{
		"/debug/pprof/": 200, "/debug/pprof/goroutine?debug=1": 200, "/debug/pprof/cmdline": 404,
		"/debug/pprof/profile?seconds=61": 400, "/debug/pprof/trace?seconds=x": 400, "/debug/pprof/heap?seconds=-1": 400,
	} {
		if status, body := ask(t, addr, get(path, addr, "")); status != want {
			t.Errorf("%s: got %d %q, want %d", path, status, body, want)
		}
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	slow := profilesOf(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-leave }))
	first := make(chan struct{})
	go func() { slow.ServeHTTP(nil, httpGet(t)); close(first) }()
	<-entered
	second := &status{header: http.Header{}}
	slow.ServeHTTP(second, httpGet(t))
	close(leave)
	<-first
	if second.code != 503 {
		t.Errorf("a second profile: got %d, want 503", second.code)
	}
}

func httpGet(t *testing.T) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), "GET", "/debug/pprof/heap", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// status is a ResponseWriter that keeps the status alone.
type status struct {
	header http.Header
	code   int
}

func (s *status) Header() http.Header         { return s.header }
func (s *status) Write(b []byte) (int, error) { return len(b), nil }
func (s *status) WriteHeader(code int)        { s.code = code }

func TestWebPagesAreKeptOut(t *testing.T) {
	_, addr := serving(t, Config{Hosts: []string{"Node.example"}})
	for name, c := range map[string]struct {
		host, headers string
		want          int
	}{
		"the address":                         {addr, "", 200},
		"localhost":                           {"localhost:9464", "", 200},
		"localhost in capitals, with a dot":   {"LOCALHOST.", "", 200},
		"an address of version 6":             {"[::1]:9464", "", 200},
		"a name that was configured":          {"node.EXAMPLE:9464", "", 200},
		"a name made to point here":           {"evil.example:9464", "", 421},
		"a name that begins like localhost":   {"localhost.evil.example", "", 421},
		"a name that begins like an address":  {"127.0.0.1.evil.example", "", 421},
		"a page elsewhere":                    {addr, "Sec-Fetch-Site: cross-site\n", 403},
		"a page on a sibling":                 {addr, "Sec-Fetch-Site: same-site\n", 403},
		"a script elsewhere":                  {addr, "Origin: https://evil.example\n", 403},
		"a page without an origin of its own": {addr, "Origin: null\n", 403},
		"a person at a browser":               {addr, "Sec-Fetch-Site: none\n", 200},
		"a person who follows a link in it":   {addr, "Sec-Fetch-Site: same-origin\n", 200},
		"a configured name, a page elsewhere": {"node.example", "Sec-Fetch-Site: cross-site\n", 403},
	} {
		if got, _ := ask(t, addr, get("/healthz", c.host, c.headers)); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestAnAddressInUseIsSaid(t *testing.T) {
	_, addr := serving(t, Config{})
	_, err := Open(Config{Listen: addr}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "set metrics_listen to another port") {
		t.Errorf("got %v, want what to do about it", err)
	}
}

// Who connects and says nothing holds one of the slots, and no more than those.
func TestOpenConnectionsAreBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limited := newLimitedListener(ln, 2)
	accept := func() net.Conn {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		conn, err := limited.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	first, second := accept(), accept()
	_, _ = first.Close(), first.Close() // twice, as net/http may: one slot
	if n := len(limited.slots); n != 1 {
		t.Fatalf("%d slots in use after one of two came free, want 1", n)
	}
	third := accept()
	ended := make(chan error, 1)
	go func() {
		_, err := limited.Accept() // no slot is free, and nobody dials
		ended <- err
	}()
	_ = limited.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ended with %v, want %v", err, net.ErrClosed)
	}
	_, _ = second.Close(), third.Close()
	if n := len(limited.slots); n != 0 {
		t.Errorf("%d slots in use after all came free", n)
	}
}
