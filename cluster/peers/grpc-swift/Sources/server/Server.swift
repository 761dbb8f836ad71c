import GRPCCore
import GRPCNIOTransportHTTP2Posix
import GRPCProtobuf
import Glibc
import NIOPosix

// The benchmark's service on grpc-swift.
//
//   server PORT THREADS [CA CERTIFICATE KEY]

typealias Payload = Iov_Bench_V1_Payload

struct BenchmarkService: RegistrableRPCService {
  static let messagesPerDownload = 1024

  func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
    add("Unary", to: &router) { requests, responses in
      for try await request in requests { try await responses.write(request) }
    }
    add("Bidirectional", to: &router) { requests, responses in
      for try await request in requests { try await responses.write(request) }
    }
    add("Download", to: &router) { requests, responses in
      for try await request in requests {
        for _ in 0..<Self.messagesPerDownload { try await responses.write(request) }
      }
    }
    add("Upload", to: &router) { requests, responses in
      for try await _ in requests {}
      try await responses.write(Payload())
    }
  }

  private func add<Transport: ServerTransport>(
    _ method: String, to router: inout RPCRouter<Transport>,
    _ handler: @escaping @Sendable (RPCAsyncSequence<Payload, any Error>, RPCWriter<Payload>) async throws -> Void
  ) {
    router.registerHandler(
      forMethod: MethodDescriptor(fullyQualifiedService: "iov.bench.v1.Benchmark", method: method),
      deserializer: ProtobufDeserializer<Payload>(),
      serializer: ProtobufSerializer<Payload>()
    ) { request, _ in
      StreamingServerResponse { responses in
        try await handler(request.messages, responses)
        return [:]
      }
    }
  }
}

@main
struct Server {
  static func main() async throws {
    let arguments = CommandLine.arguments
    guard arguments.count == 3 || arguments.count == 6, let port = Int(arguments[1]), let threads = Int(arguments[2])
    else {
      print("usage: server PORT THREADS [CA CERTIFICATE KEY]")
      exit(64)
    }
    var security = HTTP2ServerTransport.Posix.TransportSecurity.plaintext
    if arguments.count == 6 {
      security = .mTLS(
        certificateChain: [.file(path: arguments[4], format: .pem)],
        privateKey: .file(path: arguments[5], format: .pem)
      ) {
        $0.trustRoots = .certificates([.file(path: arguments[3], format: .pem)])
      }
    }
    let server = GRPCServer(
      transport: HTTP2ServerTransport.Posix(
        address: .ipv4(host: "127.0.0.1", port: port), transportSecurity: security,
        eventLoopGroup: MultiThreadedEventLoopGroup(numberOfThreads: threads)),
      services: [BenchmarkService()])
    try await withThrowingDiscardingTaskGroup { group in
      group.addTask { try await server.serve() }
      if let address = try await server.listeningAddress?.ipv4 {
        print("listening on \(address.host):\(address.port), process \(getpid())")
        fflush(nil)
      }
    }
  }
}
