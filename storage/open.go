package storage

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcp"
)

// openBucket opens the bucket of a location. The drivers' own openers would wait for a
// stalled server for ever.
func openBucket(ctx context.Context, l Location, o Options) (*blob.Bucket, error) {
	u := &url.URL{Scheme: l.scheme, Host: l.bucket, RawQuery: l.query}
	switch l.scheme {
	case "s3":
		return openS3(ctx, u, o)
	case "gs":
		return openGCS(ctx, u, o)
	}
	// No separate temporary folder: a rename across file systems would fail.
	return fileblob.OpenBucket("/", &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
}

// openS3 opens the URL by gocloud and replaces the HTTP client.
func openS3(ctx context.Context, u *url.URL, options Options) (*blob.Bucket, error) {
	opener := new(s3blob.URLOpener)
	b, err := opener.OpenBucketURL(ctx, u)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	var client *s3.Client
	if !b.As(&client) {
		return nil, fmt.Errorf("%s: the driver has no S3 client", u)
	}
	if err := checkS3(ctx, u, client.Options()); err != nil {
		return nil, err
	}
	impatient := s3.New(client.Options(), func(o *s3.Options) {
		o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.DialContext = dialer(t.DialContext, options.Stall) })
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.RateLimiter, o.MaxBackoff = ratelimit.None, 8*options.Wait }) // of parts
		o.Logger = logging.Nop{}                                                                                                       // it would warn about servers without checksums
	})
	return s3blob.OpenBucket(ctx, impatient, u.Host, &opener.Options)
}

// checkS3 reports a missing region or missing credentials before the first request.
func checkS3(ctx context.Context, u *url.URL, o s3.Options) error {
	if o.Region == "" {
		return fmt.Errorf("no region: set AWS_REGION, or add ?region=NAME to the URL (for your own server, any name works)")
	}
	if u.Query().Get("anonymous") == "true" {
		return nil
	}
	if _, err := o.Credentials.Retrieve(ctx); err != nil {
		return fmt.Errorf("no credentials for S3: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or add ?anonymous=true to the URL: %w", err)
	}
	return nil
}

// openGCS uses the credentials of Google's tools. gocloud's default opener would print
// to standard output if there are none.
func openGCS(ctx context.Context, u *url.URL, o Options) (*blob.Bucket, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = dialer(transport.DialContext, o.Stall)
	opener := &gcsblob.URLOpener{Client: gcp.NewAnonymousHTTPClient(transport)}
	query := u.Query()
	if query.Get("anonymous") == "true" {
		query.Del("anonymous") // with it gocloud would use its own transport
		u.RawQuery = query.Encode()
		return opener.OpenBucketURL(ctx, u)
	}
	credentials, err := gcp.DefaultCredentials(ctx)
	if err != nil {
		return nil, fmt.Errorf("no credentials for Google Cloud: run `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, or add ?anonymous=true to the URL: %w", err)
	}
	if opener.Client, err = gcp.NewHTTPClient(transport, gcp.CredentialsTokenSource(credentials)); err != nil {
		return nil, err
	}
	return opener.OpenBucketURL(ctx, u)
}

type dial = func(ctx context.Context, network, address string) (net.Conn, error)

// dialer returns a dial whose connections time out when idle for stall.
func dialer(below dial, stall time.Duration) dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := below(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &lively{c, stall}, nil
	}
}

// lively is a connection with an idle timeout.
type lively struct {
	net.Conn
	stall time.Duration
}

func (c *lively) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write also extends the deadline of a Read: the response comes only after the whole
// request.
func (c *lively) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
