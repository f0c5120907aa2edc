// Grpcgo calls a gRPC server, one call of each kind, and prints the answers:
//
//	grpcgo [-tls] [-service NAME] HOST:PORT
//
// With -serve it is a server of the same calls on that address.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
)

func main() {
	secure := flag.Bool("tls", false, "use TLS")
	service := flag.String("service", "shop", "`NAME` of the service that is asked for")
	serve := flag.Bool("serve", false, "be the server")
	flag.Parse()
	var err error
	if *serve {
		err = server(flag.Arg(0))
	} else {
		err = client(flag.Arg(0), *secure, *service)
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func server(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	h := health.NewServer()
	h.SetServingStatus("shop", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(s, h)
	reflection.Register(s)
	return s.Serve(l)
}

func client(addr string, secure bool, service string) error {
	cred := insecure.NewCredentials()
	if secure {
		cred = credentials.NewTLS(&tls.Config{})
	}
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(cred))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, name := range []string{service, "nowhere"} {
		r, err := healthpb.NewHealthClient(c).Check(ctx, &healthpb.HealthCheckRequest{Service: name})
		fmt.Println("check", name, r.GetStatus(), err)
	}
	w, err := healthpb.NewHealthClient(c).Watch(ctx, &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		return err
	}
	first, err := w.Recv()
	fmt.Println("watch", first.GetStatus(), err)
	both, err := reflectpb.NewServerReflectionClient(c).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	for _, symbol := range []string{"grpc.health.v1.Health", "no.such.Thing", "grpc.health.v1.HealthCheckRequest"} {
		err := both.Send(&reflectpb.ServerReflectionRequest{MessageRequest: &reflectpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol}})
		if err != nil {
			return err
		}
		r, err := both.Recv()
		if err != nil {
			return err
		}
		fmt.Println("reflect", symbol, len(r.GetFileDescriptorResponse().GetFileDescriptorProto()), r.GetErrorResponse().GetErrorMessage())
	}
	if err := both.CloseSend(); err != nil {
		return err
	}
	_, err = both.Recv()
	fmt.Println("end", err)
	return nil
}
