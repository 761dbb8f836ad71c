import Arbitration
import ClaimStore
import Foundation
import Logging
import Services

/// The coordinator: the arbiter, its store and its services, on sockets.
public final class CoordinatorDaemon: Sendable {
  private let arbiter: DurableArbiter
  private let server: RPCServer
  private let store: any ClaimStore
  private let endpoints: [SocketEndpoint]
  private let logger: Logger

  /// Takes the store over and reads it; it is closed when `run` returns. Blocks on the disk.
  ///
  /// - Throws: `StoreError`; `Refusal` where the store contradicts itself.
  public init(configuration: CoordinatorConfiguration, store: any ClaimStore, logger: Logger) throws {
    arbiter = try DurableArbiter(
      store: store, settings: configuration.arbiterSettings, now: SystemClock.now, logger: logger)
    server = RPCServer(services: [
      ClaimsFrontend(arbiter: arbiter, makeUID: { UUID().uuidString.lowercased() }),
      InventoryFrontend(arbiter: arbiter),
      AgentSessionsFrontend(arbiter: arbiter, logger: logger),
    ])
    self.store = store
    endpoints = configuration.listen
    self.logger = logger
  }

  /// Listens on the configured endpoints; answers them with their ports.
  public func bind() async throws -> [SocketEndpoint] {
    var bound: [SocketEndpoint] = []
    for endpoint in endpoints {
      let actual = try await server.bind(endpoint)
      logger.notice("listening", metadata: ["endpoint": "\(actual)"])
      bound.append(actual)
    }
    return bound
  }

  /// Serves until the task is cancelled or the store fails; the store is closed then, and holds all that was answered.
  public func run() async throws {
    let result: Result<Void, any Error>
    do {
      try await serve()
      result = .success(())
    } catch {
      result = .failure(error)
    }
    await arbiter.stop()
    store.close()
    logger.notice("stopped")
    try result.get()
  }

  private func serve() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { [server] in try await server.run() }
      group.addTask { [arbiter] in
        while true {
          // A lease that ran out is noticed this much later.
          try await Task.sleep(for: .milliseconds(250))
          arbiter.submit(.timePassed)
        }
      }
      group.addTask { [arbiter] in throw try await arbiter.storeFailure() }
      defer { group.cancelAll() }
      do {
        try await group.next()
      } catch is CancellationError where Task.isCancelled {
        // The stop button.
      }
    }
  }
}
