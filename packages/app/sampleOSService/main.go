// sampleOSService answers a few small questions over HTTP. It is the application of SampleOS: one static program,
// with its fortunes inside, so that the package is nothing but that program and the stage file that starts it.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"log"
	"math/rand"
	"net/http"
	"sort"
	"strings"
	"time"
)

//go:embed fortunes.txt
var book string

// fortunes are the sayings of the book, which stand between lines with a percent sign.
func fortunes(book string) []string {
	var found []string
	for _, part := range strings.Split(book, "\n%\n") {
		if text := strings.TrimSpace(part); text != "" {
			found = append(found, text)
		}
	}
	return found
}

func handler(pick func() string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "hello")
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		var lines []string
		for name, values := range r.Header {
			for _, value := range values {
				lines = append(lines, name+": "+value)
			}
		}
		sort.Strings(lines)
		fmt.Fprintln(w, strings.Join(lines, "\n"))
	})
	mux.HandleFunc("/fortune", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, pick())
	})
	mux.HandleFunc("/fortuneteller", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, say(pick()))
	})
	return mux
}

func main() {
	listen := flag.String("listen", ":8090", "address to answer on")
	flag.Parse()
	all := fortunes(book)
	random := rand.New(rand.NewSource(time.Now().UnixNano()))
	picks := make(chan string)
	go func() {
		for {
			picks <- all[random.Intn(len(all))]
		}
	}()
	server := &http.Server{
		Addr:              *listen,
		Handler:           handler(func() string { return <-picks }),
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}
