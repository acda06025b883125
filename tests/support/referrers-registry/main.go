// A registry that has the referrers API, for tests: that of go-containerregistry, in memory. With -subject it answers a push of a
// referrer with OCI-Subject, as distribution-spec v1.1 wants it; without, clients keep the list under a tag as well.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:5000", "address to listen on")
	subject := flag.Bool("subject", false, "answer with OCI-Subject")
	flag.Parse()
	handler := registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
	if *subject {
		handler = withSubject(handler)
	}
	log.Fatal(http.ListenAndServe(*addr, handler))
}

func withSubject(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodPut && strings.Contains(request.URL.Path, "/manifests/") {
			body, err := io.ReadAll(io.LimitReader(request.Body, 8<<20))
			if err != nil {
				http.Error(response, err.Error(), http.StatusBadRequest)
				return
			}
			var manifest struct {
				Subject struct {
					Digest string `json:"digest"`
				} `json:"subject"`
			}
			if json.Unmarshal(body, &manifest) == nil && manifest.Subject.Digest != "" {
				response.Header().Set("OCI-Subject", manifest.Subject.Digest)
			}
			request.Body = io.NopCloser(bytes.NewReader(body))
		}
		next.ServeHTTP(response, request)
	})
}
