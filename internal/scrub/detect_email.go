package scrub

import "bytes"

func isLocal(c byte) bool {
	switch c {
	case '.', '_', '%', '+', '-', '\'', '!', '#', '$', '*', '/', '?', '^', '`', '{', '|', '}', '~', '&':
		return c == '.' || c == '_' || c == '%' || c == '+' || c == '-'
	}
	return isAlnum(c) || c >= 0x80
}

// email verifies an address around the @ at i.
func (s *scanner) email(b []byte, i int, st *state) {
	start := i
	for start > 0 && i-start < 65 && isLocal(b[start-1]) {
		start--
	}
	for start < i && (b[start] == '.' || b[start] == '-' || b[start] == '%' || b[start] == '+') {
		start++
	}
	if start == i || i-start > 64 {
		return
	}
	end, dot := i+1, 0
	for end < len(b) && end-i <= 254 {
		c := b[end]
		if c == '.' {
			if end == i+1 || b[end-1] == '.' {
				break
			}
			dot = end
		} else if !isAlnum(c) && c != '-' && c < 0x80 {
			break
		}
		end++
	}
	for end > i+1 && (b[end-1] == '.' || b[end-1] == '-') {
		end--
	}
	if dot >= end {
		dot = bytes.LastIndexByte(b[i+1:end], '.')
		if dot < 0 {
			return
		}
		dot += i + 1
	}
	if dot == 0 {
		return
	}
	if isExtension(b[dot+1 : end]) {
		// It may be a file that is called by an address.
		end, dot = dot, i+1+bytes.LastIndexByte(b[i+1:dot], '.')
		if dot == i || !isAlpha(b[i+1]) {
			return
		}
	}
	if !isTLD(b[dot+1 : end]) {
		return
	}
	for n := len(st.hits); n > 0 && n > len(st.hits)-4; n-- {
		if h := &st.hits[n-1]; h.det == detConnString && h.end == i {
			return // the end of a password in a URL
		}
	}
	local := b[start:i]
	if string(local) == "git" || tokenLen(local) == len(local) {
		return // user of a forge's SSH address; a scrubbed password before @host
	}
	st.add(start, end, detEmail)
}

// isTLD tells the last label of a host name from the end of a file's name.
func isTLD(label []byte) bool {
	if len(label) < 2 || len(label) > 24 {
		return false
	}
	zs := 0
	for i, c := range label {
		switch {
		case isAlpha(c) || c >= 0x80:
		case i > 3 && label[0]|0x20 == 'x' && label[2] == '-' && (isDigit(c) || c == '-'):
		case i > 1 && i < 4 && c == '-' && label[0]|0x20 == 'x':
		default:
			return false
		}
		if c|0x20 == 'z' {
			zs++
		}
	}
	if zs == len(label) {
		return false // what format-preserving scrubbing leaves
	}
	return !isExtension(label)
}

// isExtension tells of names of files such as icon@2x.png.
func isExtension(label []byte) bool {
	switch string(bytes.ToLower(label)) {
	case "png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "tgz", "gz", "html", "json", "xml", "yaml", "yml", "map", "service":
		return true
	}
	return false
}
