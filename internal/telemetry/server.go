package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits of the server.
const (
	maxConns       = 32
	maxScrapes     = 4                // at a time
	maxProfiles    = 1                // at a time
	maxProfileTime = 60 * time.Second // of one CPU profile or execution trace
	maxHeader      = 8 << 10          // bytes of a request; it has no use for a body
	readTimeout    = 5 * time.Second
	scrapeTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	stopTimeout    = 2 * time.Second
)

// newServer makes the server of a configuration.
func newServer(cfg Config, in *Instruments) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(in.registry, promhttp.HandlerOpts{
		ErrorLog: scrapeLog{in.log}, ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true,
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout, CoalesceGather: true,
	}))
	mux.HandleFunc("GET /healthz", in.serveHealth)
	if cfg.Pprof {
		mux.Handle("GET /debug/pprof/", profiles())
	}
	return &http.Server{
		Handler: guard(mux, cfg.Hosts), MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		WriteTimeout: maxProfileTime + scrapeTimeout,
		ErrorLog:     slog.NewLogLogger(in.log.Handler(), slog.LevelDebug),
	}
}

func (in *Instruments) serveHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := in.healthy(); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(err.Error() + "\n"))
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// profiles serves what go tool pprof asks for. The command line is not among it.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return profilesOf(mux)
}

// profilesOf lets one request at a time, for a minute at most, through to next.
func profilesOf(next http.Handler) http.Handler {
	free := make(chan struct{}, maxProfiles)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seconds := r.URL.Query().Get("seconds"); seconds != "" {
			if n, err := strconv.ParseFloat(seconds, 64); err != nil || !(n > 0 && n <= maxProfileTime.Seconds()) {
				http.Error(w, "seconds is a number from 1 to 60", http.StatusBadRequest)
				return
			}
		}
		select {
		case free <- struct{}{}:
			defer func() { <-free }()
			next.ServeHTTP(w, r)
		default:
			http.Error(w, "another profile is being taken: try again when it is done", http.StatusServiceUnavailable)
		}
	})
}

// guard keeps web pages out. A page whose own name was made to point at this
// address (DNS rebinding) asks under that name; one that asks from elsewhere
// carries the headers by which a browser says so (https://www.w3.org/TR/fetch-metadata).
func guard(next http.Handler, hosts []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site := r.Header.Get("Sec-Fetch-Site")
		switch {
		case !hostAllowed(r.Host, hosts):
			http.Error(w, "asked under a name that is not in metrics_hosts: use the IP address, or add the name there", http.StatusMisdirectedRequest)
		case site != "" && site != "none" && site != "same-origin", r.Header.Get("Origin") != "":
			http.Error(w, "not for web pages", http.StatusForbidden)
		default:
			w.Header().Set("X-Content-Type-Options", "nosniff")
			next.ServeHTTP(w, r)
		}
	})
}

// hostAllowed tells whether a request may name this server so: any IP address is
// safe, as no name was looked up to get here.
func hostAllowed(hostport string, hosts []string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return host == "localhost" || slices.ContainsFunc(hosts, func(h string) bool { return h != "" && strings.EqualFold(h, host) })
}

// serve answers requests until ctx ends, then lets those in flight finish for a
// little while.
func serve(ctx context.Context, srv *http.Server, ln net.Listener) error {
	done := make(chan error, 1) // one send, whether or not anybody reads
	go func() { done <- srv.Serve(newLimitedListener(ln, maxConns)) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		_ = srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// scrapeLog takes what the library has to say about a scrape.
type scrapeLog struct{ log *slog.Logger }

// Println logs v.
func (l scrapeLog) Println(v ...any) { l.log.Warn("a scrape was incomplete", "err", v[len(v)-1]) }

var _ prometheus.Collector = (*sources)(nil)
