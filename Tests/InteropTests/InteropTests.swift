import Interop
import MeshRPC
import Testing

/// Our client against our server; cluster/interop runs both against those of other implementations.
@Suite(.timeLimit(.minutes(1))) struct InteropTests {
  @Test(arguments: InteropCase.allCases) func ourClientAndOurServerAgree(on interopCase: InteropCase) async throws {
    try await withServer(InteropService()) { endpoint in
      try await client(endpoint).run(interopCase)
    }
  }

  /// A case that a server without the service passed would prove nothing.
  @Test(arguments: InteropCase.allCases) func aServerThatOffersNothingFails(_ interopCase: InteropCase) async throws {
    switch interopCase {
    // These say what they say of any server.
    case .unimplementedMethod, .unimplementedService, .cancelAfterBegin, .timeoutOnSleepingServer: return
    default: break
    }
    try await withServer(nil) { endpoint in
      await #expect(throws: (any Error).self) { try await client(endpoint).run(interopCase) }
    }
  }

  private func client(_ endpoint: SocketEndpoint) -> InteropClient {
    var soak = Soak()
    soak.iterations = 3
    // A busy machine is not what is tested here.
    soak.maximumLatency = .seconds(60)
    soak.overallTimeout = .seconds(60)
    return InteropClient(soak: soak) { RPCChannel(endpoint) }
  }

  private func withServer(
    _ service: InteropService?, _ body: @Sendable (SocketEndpoint) async throws -> Void
  ) async throws {
    let server = RPCServer(services: service.map { [$0] } ?? [])
    let endpoint = try await server.bind(.tcp(host: "127.0.0.1", port: 0))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      defer { group.cancelAll() }
      try await body(endpoint)
    }
  }
}
