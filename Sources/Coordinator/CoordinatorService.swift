import ClaimStore
import Logging
import Services

/// The coordinator as a process runs it: one run after another on one store's place, each but the first after a restore.
public struct CoordinatorService: Sendable {
  private let configuration: CoordinatorConfiguration
  private let logger: Logger

  public init(configuration: CoordinatorConfiguration, logger: Logger) {
    self.configuration = configuration
    self.logger = logger
  }

  /// Runs until the task is cancelled or the store fails.
  ///
  /// - Parameter listening: told the endpoints, with their ports, at the beginning of every run.
  public func run(listening: @Sendable ([SocketEndpoint]) -> Void = { _ in }) async throws {
    var configuration = configuration
    var end = CoordinatorDaemon.End.restored(formerStorePath: "")
    while case .restored(let formerStorePath) = end, !Task.isCancelled {
      let store = try SQLiteStore(path: configuration.store.path)
      logger.info("store opened", metadata: ["path": "\(store.path)", "cluster": "\(store.clusterID)"])
      let daemon = try CoordinatorDaemon(
        configuration: configuration, store: store, formerStorePath: formerStorePath, logger: logger)
      // A port that the system chose once is kept: those who know it come back to it.
      configuration.listen = try await daemon.bind()
      listening(configuration.listen)
      end = try await daemon.run()
    }
  }
}
