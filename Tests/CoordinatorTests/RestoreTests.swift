import ClaimStore
import Foundation
import Services
import Testing

@testable import Coordinator

@Suite(.timeLimit(.minutes(1))) struct RestoreTests {
  private func backup(_ coordinator: TestCoordinator) async throws -> [UInt8] {
    var bytes: [UInt8] = []
    for try await chunk in try await coordinator.operations.backup(BackupRequest()) {
      #expect(chunk.data.count <= 64 << 10)
      bytes += chunk.data
    }
    return bytes
  }

  private func restore(_ bytes: [UInt8], into coordinator: TestCoordinator) async throws -> RestoreResponse {
    let call = try await coordinator.operations.restore()
    for start in stride(from: 0, to: bytes.count, by: 10_000) {
      let chunk = bytes[start..<min(bytes.count, start + 10_000)]
      try await call.write(BackupChunk { $0.data = Array(chunk) })
    }
    call.finishWriting()
    var answers: [RestoreResponse] = []
    for try await answer in call.responses { answers.append(answer) }
    #expect(answers.count == 1)
    return try #require(answers.first)
  }

  private func create(_ names: [String], in coordinator: TestCoordinator) async throws {
    let knowsHosts = try await !coordinator.inventory.listHosts(ListHostsRequest()).hosts.isEmpty
    // A claim is for a class and a host that the coordinator has heard of.
    try await withAgents(knowsHosts ? [] : [.withCard, .withoutCard], of: coordinator) {
      for name in names { _ = try await coordinator.claims.createClaim(.ethernet(name)) }
    }
  }

  private func claims(of coordinator: TestCoordinator) async throws -> [String] {
    // The new run is not there in the moment in which the old one has gone.
    while true {
      do {
        return try await coordinator.claims.listClaims(ListClaimsRequest()).claims.map(\.name)
      } catch let error as RPCError where error.code == .unavailable {
        await Task.yield()
      }
    }
  }

  @Test func aBackupIsRestoredIntoTheCoordinatorThatRuns() async throws {
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(serviceIn: directory)
    try await withAgents([.withCard, .withoutCard], of: coordinator) {
      try await create(["one", "two"], in: coordinator)
      _ = try await coordinator.claims.wait(for: "two", .ready)
    }
    let kept = try await backup(coordinator)
    try await create(["three"], in: coordinator)
    let before = try await coordinator.inventory.getCluster(GetClusterRequest())
    let watch = try await coordinator.claims.watchClaims(WatchClaimsRequest())

    let answer = try await restore(kept, into: coordinator)
    #expect(answer.clusterId == before.id)
    #expect(answer.claims == 2)
    #expect(answer.revision < before.revision)
    let ended = await rpcError { for try await _ in watch {} }
    #expect(ended?.code == .unavailable)
    #expect(try await claims(of: coordinator) == ["one", "two"])
    let after = try await coordinator.inventory.getCluster(GetClusterRequest())
    #expect(after.id == before.id)
    #expect(after.epoch > before.epoch)
    let status = try await coordinator.operations.getStatus(GetStatusRequest())
    #expect(status.formerStorePath == answer.formerStorePath)
    try await coordinator.stop()

    let former = String(answer.formerStorePath.dropFirst(directory.path.count + 1))
    #expect(former.hasPrefix("claims.sqlite.before-restore-2"))
    #expect(directory.names == ["claims.sqlite", "claims.sqlite-lock", former])
    let store = try SQLiteStore(candidate: answer.formerStorePath)
    #expect(try store.load().filter { $0.key.kind == "claim" }.count == 3)
    store.close()
  }

  @Test func theEpochRisesAboveBothStores() async throws {
    let directory = try TemporaryDirectory()
    let first = try await TestCoordinator(serviceIn: directory)
    let kept = try await backup(first)
    try await first.stop()
    for _ in 0..<3 { try await TestCoordinator(in: directory).stop() }
    let coordinator = try await TestCoordinator(serviceIn: directory)
    let before = try await coordinator.inventory.getCluster(GetClusterRequest())
    #expect(before.epoch == 5)
    let watch = try await coordinator.claims.watchClaims(WatchClaimsRequest())
    _ = try await restore(kept, into: coordinator)
    // The run that is replaced answers until it ends.
    _ = await rpcError { for try await _ in watch {} }
    _ = try await claims(of: coordinator)
    #expect(try await coordinator.inventory.getCluster(GetClusterRequest()).epoch == 6)
    try await coordinator.stop()
  }

  // MARK: Refusals

  @Test func aBackupOfAnotherClusterIsRefused() async throws {
    let other = try await TestCoordinator(in: TemporaryDirectory())
    let foreign = try await backup(other)
    let otherID = try await other.inventory.getCluster(GetClusterRequest()).id
    try await other.stop()
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(serviceIn: directory)
    try await create(["mine"], in: coordinator)
    let ownID = try await coordinator.inventory.getCluster(GetClusterRequest()).id
    let error = await rpcError { _ = try await restore(foreign, into: coordinator) }
    #expect(error?.code == .failedPrecondition)
    #expect(error?.message.contains(otherID) == true)
    #expect(error?.message.contains(ownID) == true)
    #expect(directory.names == ["claims.sqlite", "claims.sqlite-lock"])
    #expect(try await claims(of: coordinator) == ["mine"])
    try await coordinator.stop()
  }

  @Test func whatIsNoWholeBackupChangesNothing() async throws {
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(serviceIn: directory)
    try await create((0..<40).map { "claim-\($0)" }, in: coordinator)
    let whole = try await backup(coordinator)
    var damaged = whole
    damaged.replaceSubrange(2 * 4096..<3 * 4096, with: repeatElement(0xA5, count: 4096))
    for bytes in [[], Array(whole.prefix(whole.count / 2)), damaged, Array(repeating: 0x41, count: 10_000)] {
      let error = await rpcError { _ = try await restore(bytes, into: coordinator) }
      #expect(error?.code == .invalidArgument)
      #expect(error?.message.contains("backup") == true, "\(error.debugDescription)")
      #expect(directory.names == ["claims.sqlite", "claims.sqlite-lock"])
    }
    #expect(try await claims(of: coordinator).count == 40)
    try await coordinator.stop()
  }

  @Test func aCallerThatGivesUpLeavesNothing() async throws {
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(serviceIn: directory)
    let whole = try await backup(coordinator)
    let call = try await coordinator.operations.restore()
    try await call.write(BackupChunk { $0.data = Array(whole.prefix(4096)) })
    while directory.names.count < 3 { await Task.yield() }
    let second = await rpcError { _ = try await restore(whole, into: coordinator) }
    #expect(second?.code == .aborted)
    call.cancel()
    while directory.names.count > 2 { await Task.yield() }
    #expect(directory.names == ["claims.sqlite", "claims.sqlite-lock"])
    _ = try await restore(whole, into: coordinator)
    #expect(try await claims(of: coordinator).isEmpty)
    try await coordinator.stop()
  }

  // MARK: A coordinator that does not start

  /// A store with two claims, and the backup of it with one.
  private func stoppedStore(in directory: TemporaryDirectory) async throws -> (store: String, backup: String) {
    let coordinator = try await TestCoordinator(in: directory)
    try await create(["one"], in: coordinator)
    let path = directory.file("backup")
    try Data(try await backup(coordinator)).write(to: URL(fileURLWithPath: path))
    try await create(["two"], in: coordinator)
    try await coordinator.stop()
    return (directory.file("claims.sqlite"), path)
  }

  private func startedClaims(in directory: TemporaryDirectory) async throws -> [String] {
    let coordinator = try await TestCoordinator(in: directory)
    let names = try await claims(of: coordinator)
    try await coordinator.stop()
    return names
  }

  @Test(arguments: [true, false])
  func aDamagedOrMissingStoreIsReplacedByABackup(isThere: Bool) async throws {
    let directory = try TemporaryDirectory()
    let (store, backup) = try await stoppedStore(in: directory)
    let garbage = Data(repeating: 0xA5, count: 9000)
    try FileManager.default.removeItem(atPath: store)
    if isThere {
      try garbage.write(to: URL(fileURLWithPath: store))
      try garbage.write(to: URL(fileURLWithPath: store + "-wal"))
    }
    #expect(throws: StoreError.self) { try SQLiteStore(path: store) }
    let words = try OfflineRestore(store: store, backup: backup).run()
    #expect(words.contains("1 claims"))
    let kept = directory.names.filter { $0.contains(".before-restore-") }
    #expect(kept.count == (isThere ? 1 : 0))
    if let kept = kept.first {
      #expect(words.contains(kept))
      #expect(FileManager.default.contents(atPath: directory.file(kept)) == garbage)
      #expect(FileManager.default.contents(atPath: directory.file(kept) + "-wal") == garbage)
    }
    #expect(try await startedClaims(in: directory) == ["one"])
  }

  @Test func aRestoreThatWasKilledBetweenTheFilesCanBeMadeAgain() async throws {
    let directory = try TemporaryDirectory()
    let (store, backup) = try await stoppedStore(in: directory)
    // The database is away and its log is not: no state that is older may be taken for the store's.
    try FileManager.default.moveItem(atPath: store, toPath: store + ".before-restore-killed")
    try Data(repeating: 0xA5, count: 9000).write(to: URL(fileURLWithPath: store + "-wal"))
    let refusal = #expect(throws: StoreError.self) { try SQLiteStore(path: store) }
    #expect(refusal?.reason == .damaged)
    _ = try OfflineRestore(store: store, backup: backup).run()
    #expect(try await startedClaims(in: directory) == ["one"])
  }

  @Test func aReadableStoreGivesItsEpochToTheBackup() async throws {
    let directory = try TemporaryDirectory()
    let (store, backup) = try await stoppedStore(in: directory)
    for _ in 0..<4 { try await TestCoordinator(in: directory).stop() }
    _ = try OfflineRestore(store: store, backup: backup).run()
    let coordinator = try await TestCoordinator(in: directory)
    #expect(try await coordinator.inventory.getCluster(GetClusterRequest()).epoch == 6)
    try await coordinator.stop()
  }

  @Test func aRestoreThatCannotBeIsRefusedAndLeavesNothing() async throws {
    let directory = try TemporaryDirectory()
    let (store, backup) = try await stoppedStore(in: directory)
    let elsewhere = try TemporaryDirectory()
    let (otherStore, otherBackup) = try await stoppedStore(in: elsewhere)
    let before = directory.names

    #expect(throws: StoreError.self) { try OfflineRestore(store: store, backup: backup + "-missing").run() }
    let foreign = #expect(throws: StoreError.self) { try OfflineRestore(store: store, backup: otherBackup).run() }
    #expect(foreign?.reason == .otherCluster)
    // What the lock remembers of a store that is lost counts too.
    try FileManager.default.removeItem(atPath: otherStore)
    let lost = #expect(throws: StoreError.self) { try OfflineRestore(store: otherStore, backup: backup).run() }
    #expect(lost?.reason == .otherCluster)
    let coordinator = try await TestCoordinator(in: directory)
    let running = #expect(throws: StoreError.self) { try OfflineRestore(store: store, backup: backup).run() }
    #expect(running?.reason == .inUse)
    try await coordinator.stop()
    #expect(directory.names == before)
    #expect(try await startedClaims(in: directory) == ["one", "two"])
  }
}
