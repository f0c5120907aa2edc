// Httpvolatile sends a server what differs from run to run: a UUID, the time,
// a counter that begins anywhere.
//
//	httpvolatile URL [SAY]
//
// SAY is sent, too; it differs only if it is told to. With "fixed" nothing differs.
package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	say := "hello"
	if len(os.Args) > 2 {
		say = os.Args[2]
	}
	b := make([]byte, 4)
	rand.Read(b)
	first := 1_000_000 + int(binary.LittleEndian.Uint32(b))
	for i := range 4 {
		url := fmt.Sprintf("%s/echo?n=%d", os.Args[1], first+i)
		body := fmt.Sprintf(`{"id":%q,"at":%q,"ms":%d,"say":%q}`, uuid(), time.Now().UTC().Format(time.RFC3339Nano), time.Now().UnixMilli(), say)
		if say == "fixed" {
			url, body = os.Args[1]+"/echo", `{"say":"fixed"}`
		}
		r, err := http.Post(url, "application/json", strings.NewReader(body))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
		fmt.Println(i, r.StatusCode)
	}
}

func uuid() string {
	b := make([]byte, 16)
	rand.Read(b)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
