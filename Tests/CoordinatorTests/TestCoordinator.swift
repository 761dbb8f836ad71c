import ClaimStore
import Foundation
import Logging
import Services

@testable import Coordinator

/// A coordinator on a socket of its own and a store of its own.
final class TestCoordinator: Sendable {
  let directory: TemporaryDirectory
  let endpoint: SocketEndpoint
  private let running: Task<Void, any Error>

  /// Starts on `directory`, which may hold the store of a former one.
  init(
    in directory: TemporaryDirectory, store: (any ClaimStore)? = nil, logger: Logger = quiet,
    _ change: (inout CoordinatorConfiguration) -> Void = { _ in }
  ) async throws {
    self.directory = directory
    var configuration = CoordinatorConfiguration.test(in: directory)
    change(&configuration)
    let daemon = try CoordinatorDaemon(
      configuration: configuration, store: try store ?? SQLiteStore(path: configuration.store.path), logger: logger)
    endpoint = try await daemon.bind()[0]
    running = Task { _ = try await daemon.run() }
  }

  /// Starts as a process does: it begins anew after a restore.
  init(serviceIn directory: TemporaryDirectory, logger: Logger = quiet) async throws {
    self.directory = directory
    var configuration = CoordinatorConfiguration.test(in: directory)
    // A port could be taken by somebody else between two runs.
    configuration.listen = [.unix(path: directory.file("service.sock"))]
    let service = CoordinatorService(configuration: configuration, logger: logger)
    let (endpoints, continuation) = AsyncStream.makeStream(of: SocketEndpoint.self)
    running = Task {
      defer { continuation.finish() }
      try await service.run { continuation.yield($0[0]) }
    }
    var iterator = endpoints.makeAsyncIterator()
    guard let endpoint = await iterator.next() else { throw RPCError(.unavailable, "the service did not begin") }
    self.endpoint = endpoint
  }

  func channel() -> RPCChannel { RPCChannel(endpoint) }
  var claims: ClaimsClient { ClaimsClient(channel()) }
  var inventory: InventoryClient { InventoryClient(channel()) }
  var operations: OperationsClient { OperationsClient(channel()) }

  func stop() async throws {
    running.cancel()
    try await running.value
  }

  /// The error that it ended with by itself.
  func failure() async -> (any Error)? {
    do {
      try await running.value
      return nil
    } catch {
      return error
    }
  }
}

extension CoordinatorConfiguration {
  static func test(in directory: TemporaryDirectory) -> CoordinatorConfiguration {
    var configuration = CoordinatorConfiguration(storePath: directory.file("claims.sqlite"))
    configuration.listen = [.unix(path: directory.file("coordinator.sock"))]
    return configuration
  }
}

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A directory of a test's own, removed with the last reference to it.
final class TemporaryDirectory: Sendable {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "iov-coordinator-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { path + "/" + name }

  /// The names of what is in it, sorted; what SQLite keeps beside an open database, and sockets, are left out.
  var names: [String] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    return all.filter { !$0.hasSuffix("-wal") && !$0.hasSuffix("-shm") && !$0.hasSuffix(".sock") }.sorted()
  }
}

extension CreateClaimRequest {
  static func ethernet(_ name: String, host: String = "b") -> CreateClaimRequest {
    CreateClaimRequest {
      $0.name = name
      $0.specification = ClaimSpecification {
        $0.deviceClass = "ethernet"
        $0.host = host
      }
    }
  }
}

extension ClaimsClient {
  /// Follows a claim until it is in `phase`, or gone where `phase` is nil.
  func wait(for name: String, _ phase: ClaimPhase?) async throws -> Claim {
    for try await event in try await watchClaims(WatchClaimsRequest { $0.name = name }) {
      guard let claim = event.claim else { continue }
      if event.kind == .gone ? phase == nil : claim.status?.phase == phase { return claim }
    }
    throw RPCError(.dataLoss, "the watch ended")
  }
}

/// The error that `body` ends with.
func rpcError(_ body: () async throws -> Void) async -> RPCError? {
  do {
    try await body()
    return nil
  } catch {
    return error as? RPCError
  }
}
