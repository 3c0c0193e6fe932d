package rewrite

// Modules are put together by hand here: a section is its id and its body, and
// every length is below 128.

func bytesOf(parts ...any) (b []byte) {
	for _, p := range parts {
		switch v := p.(type) {
		case int:
			b = append(b, byte(v))
		case byte:
			b = append(b, v)
		case valType:
			b = append(b, byte(v))
		case string:
			b = append(b, v...)
		case []byte:
			b = append(b, v...)
		default:
			panic("bytesOf takes bytes")
		}
	}
	return b
}

func section(id int, parts ...any) []byte { return appendBytes([]byte{byte(id)}, bytesOf(parts...)) }

func wasm(sections ...[]byte) []byte {
	b := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range sections {
		b = append(b, s...)
	}
	return b
}

// aFunction is a module of one memory, one table and one function of type
// params -> results, with two locals of each type in local.
func aFunction(params, results []valType, local []valType, code ...any) []byte {
	typ := bytesOf(1, 0x60, len(params))
	for _, p := range params {
		typ = append(typ, byte(p))
	}
	typ = append(typ, byte(len(results)))
	for _, r := range results {
		typ = append(typ, byte(r))
	}
	body := []byte{byte(len(local))}
	for _, l := range local {
		body = append(body, 2, byte(l))
	}
	body = append(body, bytesOf(code...)...)
	body = append(body, opEnd)
	return wasm(section(sectionType, typ), section(sectionFunction, 1, 0), section(sectionTable, 1, typeFunc, 0, 1),
		section(sectionMemory, 1, 0, 1), section(sectionCode, 1, appendBytes(nil, body)))
}
