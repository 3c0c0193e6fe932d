package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A collector takes spans by OTLP/HTTP
// (https://opentelemetry.io/docs/specs/otlp/#otlphttp). The library's own client
// would bring gRPC along: docs/decisions/opentelemetry.md.
type collector struct {
	url     string
	headers map[string]string
	client  *http.Client
}

// maxReply bounds what is read of a collector's reply, in bytes.
const maxReply = 64 << 10

func newExporter(cfg Config) (*otlptrace.Exporter, error) {
	u, err := cfg.collector()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2, MaxConnsPerHost: 2,
		IdleConnTimeout: time.Minute, TLSHandshakeTimeout: sendTimeout, MaxResponseHeaderBytes: maxReply,
	}
	return otlptrace.NewUnstarted(&collector{
		url: u.String(), headers: maps.Clone(cfg.TraceHeaders),
		// Another place was not configured, and must not get the headers.
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}), nil
}

// Start does nothing: connections are made when there is something to send.
func (c *collector) Start(context.Context) error { return nil }

// Stop closes what is open.
func (c *collector) Stop(context.Context) error {
	c.client.CloseIdleConnections()
	return nil
}

// UploadTraces sends spans. The request of the protocol,
// ExportTraceServiceRequest, has the bytes of a TracesData: both are spans of
// resources in field 1.
func (c *collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	body, err := pack(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range c.headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "gzip")
	res, err := c.client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxReply)) // so that the connection is used again
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("the collector answered %s", res.Status)
	}
	return nil
}

// withoutURL leaves the address out of an error: it goes into logs.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func pack(data *tracepb.TracesData) ([]byte, error) {
	raw, err := proto.Marshal(data)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if _, err := zip.Write(raw); err != nil {
		return nil, err
	}
	err = zip.Close() // which writes the rest
	return out.Bytes(), err
}
