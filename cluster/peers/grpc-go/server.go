// The benchmark's service on grpc-go.
//
//	server ADDRESS THREADS [CA CERTIFICATE KEY]
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"io/ioutil"
	"log"
	"net"
	"os"
	"runtime"
	"strconv"

	"benchmark"

	"golang.org/x/net/context"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

const messagesPerDownload = 1024

type service struct {
	benchmark.UnimplementedBenchmarkServer
}

func (service) Unary(_ context.Context, request *benchmark.Payload) (*benchmark.Payload, error) {
	return request, nil
}

func (service) Bidirectional(stream benchmark.Benchmark_BidirectionalServer) error {
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(message); err != nil {
			return err
		}
	}
}

func (service) Download(request *benchmark.Payload, stream benchmark.Benchmark_DownloadServer) error {
	for i := 0; i < messagesPerDownload; i++ {
		if err := stream.Send(request); err != nil {
			return err
		}
	}
	return nil
}

func (service) Upload(stream benchmark.Benchmark_UploadServer) error {
	for {
		_, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&benchmark.Payload{})
		}
		if err != nil {
			return err
		}
	}
}

func main() {
	if len(os.Args) != 3 && len(os.Args) != 6 {
		log.Fatal("usage: server ADDRESS THREADS [CA CERTIFICATE KEY]")
	}
	threads, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	runtime.GOMAXPROCS(threads)
	var options []grpc.ServerOption
	if len(os.Args) == 6 {
		certificate, err := tls.LoadX509KeyPair(os.Args[4], os.Args[5])
		if err != nil {
			log.Fatal(err)
		}
		authority, err := ioutil.ReadFile(os.Args[3])
		if err != nil {
			log.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authority)
		options = append(options, grpc.Creds(credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{certificate},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    pool,
		})))
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(options...)
	benchmark.RegisterBenchmarkServer(server, service{})
	fmt.Printf("listening on %s, process %d\n", listener.Addr(), os.Getpid())
	log.Fatal(server.Serve(listener))
}
