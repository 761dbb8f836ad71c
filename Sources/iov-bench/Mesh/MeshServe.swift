import ArgumentParser
import ClusterSecurity
import Glibc
import NIOPosix
import Services

struct Mesh: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mesh",
    abstract: "Measures the mesh: a server that only moves messages, and a client that asks as fast as it can.",
    discussion: """
      Pin both to cores of their own, or they measure each other:

        taskset -c 0 iov-bench mesh serve --listen 127.0.0.1:7199
        taskset -c 1 iov-bench mesh call unary 127.0.0.1:7199 --connections 8 --streams 32
      """,
    subcommands: [MeshServe.self, MeshCall.self])
}

/// The server's side.
struct MeshServe: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", abstract: "Serves iov.bench.v1.Benchmark until it is stopped.")

  @Option(help: "HOST:PORT, [IPv6]:PORT or unix:PATH; with port 0 one that is free.") var listen = "127.0.0.1:0"
  @Option(help: "Event loops.") var threads = 1
  @Option(help: "Mutual TLS, with a directory of `iov pki issue coordinator`.") var tls: String?

  func validate() throws {
    guard threads > 0 else { throw ValidationError("--threads must be at least 1") }
  }

  func run() async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
    let server = RPCServer(services: [EchoService()], eventLoopGroup: group)
    let endpoint = try await server.bind(
      SocketEndpoint(parsing: listen), security: try tls.map { try TLSSettings(directory: $0).server().security })
    print("listening on \(endpoint), process \(getpid())")
    fflush(nil)
    try await server.run()
  }
}
