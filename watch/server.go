package watch

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed page
var page embed.FS

// contentPolicy allows only what comes from this server.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// cookie holds the fingerprint of the token once a page was opened by ?token=TOKEN.
const cookie = "iddpm-watch"

// Handler serves the page of a watcher. With a token a request must carry it, as ?token=TOKEN (which sets
// a cookie) or as "Authorization: Bearer TOKEN". Without one, only requests by a name of this machine
// itself (localhost, 127.0.0.1, ::1) are served, so that no foreign page reaches the runs by DNS rebinding.
func (w *Watcher) Handler(token string) http.Handler {
	mux := http.NewServeMux()
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the folder is embedded
	}
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /api/runs", w.serveRuns)
	mux.HandleFunc("GET /api/runs/{id}/curves", w.serveCurves)
	mux.HandleFunc("GET /api/runs/{id}/grids/{name...}", w.serveGrid)
	mux.HandleFunc("GET /api/events", w.serveEvents)
	return guard(mux, token)
}

func guard(next http.Handler, token string) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		h := out.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case token == "" && !isLoopback(in.Host):
			http.Error(out, fmt.Sprintf("%q is not a name of this machine: use localhost, or serve the page with a token", in.Host), http.StatusMisdirectedRequest)
		case token != "" && in.URL.Query().Has("token"):
			admit(out, in, token)
		case token != "" && !hasToken(in, token):
			http.Error(out, "a token is needed: open the URL that iddpm watch printed, which ends in ?token=...", http.StatusUnauthorized)
		default:
			next.ServeHTTP(out, in)
		}
	})
}

// admit sets the cookie and removes the token from the browser's address.
func admit(out http.ResponseWriter, in *http.Request, token string) {
	if !same(in.URL.Query().Get("token"), token) {
		http.Error(out, "this is not the token", http.StatusUnauthorized)
		return
	}
	http.SetCookie(out, &http.Cookie{Name: cookie, Value: fingerprint(token), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(out, in, "/", http.StatusSeeOther)
}

func hasToken(in *http.Request, token string) bool {
	if given, ok := strings.CutPrefix(in.Header.Get("Authorization"), "Bearer "); ok {
		return same(given, token)
	}
	c, err := in.Cookie(cookie)
	return err == nil && same(c.Value, fingerprint(token))
}

// fingerprint returns a text that stands for a token in a cookie, which cannot hold every character.
func fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// same compares in constant time, also where lengths differ.
func same(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(fingerprint(a)), []byte(fingerprint(b))) == 1
}

// isLoopback reports whether a Host header names this machine for itself.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func (w *Watcher) serveRuns(out http.ResponseWriter, _ *http.Request) {
	runs, version := w.Statuses()
	writeJSON(out, struct {
		Version int      `json:"version"`
		Runs    []Status `json:"runs"`
	}{version, runs})
}

func (w *Watcher) serveCurves(out http.ResponseWriter, in *http.Request) {
	limit, err := strconv.Atoi(in.URL.Query().Get("points"))
	if err != nil || limit < 1 || limit > maxPoints {
		limit = maxPoints
	}
	curves, ok := w.Curves(in.PathValue("id"), in.URL.Query()["metric"], limit)
	if !ok {
		http.NotFound(out, in)
		return
	}
	writeJSON(out, curves)
}

// serveGrid serves only files that the listing of the run has named.
func (w *Watcher) serveGrid(out http.ResponseWriter, in *http.Request) {
	name := in.PathValue("name")
	w.mu.Lock()
	r := w.byID(in.PathValue("id"))
	known := r != nil && slices.ContainsFunc(r.grids, func(g Grid) bool { return g.Name == name })
	w.mu.Unlock()
	if !known {
		http.NotFound(out, in)
		return
	}
	image, err := r.source.read(in.Context(), name, 0, maxImage)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.NotFound(out, in)
	case err != nil:
		http.Error(out, err.Error(), http.StatusBadGateway)
	default:
		out.Header().Set("Content-Type", "image/png")
		_, _ = out.Write(image) // the browser may be gone
	}
}

// serveEvents sends a server-sent event for each new version, at most two a second, and a comment
// every 20 seconds, by which proxies keep the connection.
func (w *Watcher) serveEvents(out http.ResponseWriter, in *http.Request) {
	flusher, ok := out.(http.Flusher)
	if !ok {
		http.Error(out, "streaming is not supported", http.StatusInternalServerError)
		return
	}
	out.Header().Set("Content-Type", "text/event-stream")
	version, _ := strconv.Atoi(in.Header.Get("Last-Event-ID"))
	for in.Context().Err() == nil {
		ctx, cancel := context.WithTimeout(in.Context(), 20*time.Second)
		now := w.wait(ctx, version)
		cancel()
		text := ": alive\n\n"
		if now > version {
			text = fmt.Sprintf("id: %d\ndata: %d\n\n", now, now)
		}
		if version = now; !write(out, text) {
			return
		}
		flusher.Flush()
		pause(in, 500*time.Millisecond)
	}
}

func writeJSON(out http.ResponseWriter, value any) {
	out.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(out).Encode(value) // the browser may be gone
}

func write(out http.ResponseWriter, text string) bool {
	_, err := out.Write([]byte(text))
	return err == nil
}

func pause(in *http.Request, d time.Duration) {
	select {
	case <-in.Context().Done():
	case <-time.After(d):
	}
}
