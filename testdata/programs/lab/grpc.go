package main

import (
	"crypto/tls"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
)

// serveGRPC serves two services that come with gRPC, without TLS and with it:
// together they have a call of every kind.
func serveGRPC(cert tls.Certificate) error {
	for addr, opts := range map[string][]grpc.ServerOption{
		":50051": nil,
		":50052": {grpc.Creds(credentials.NewServerTLSFromCert(&cert))},
	} {
		l, err := net.Listen("tcp", serverIP+addr)
		if err != nil {
			return err
		}
		s := grpc.NewServer(opts...)
		h := health.NewServer()
		h.SetServingStatus("shop", healthpb.HealthCheckResponse_SERVING)
		healthpb.RegisterHealthServer(s, h)
		reflection.Register(s)
		go s.Serve(l)
	}
	return nil
}
