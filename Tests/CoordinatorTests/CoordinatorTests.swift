import ClaimStore
import Foundation
import Services
import Testing

@testable import Coordinator

@Suite(.timeLimit(.minutes(1))) struct CoordinatorTests {
  private let rack = [FakeAgent.withCard, FakeAgent.withoutCard]

  @Test func aClaimBecomesReadyAndIsGoneAfterItsRelease() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let claims = coordinator.claims
    try await withAgents(rack, of: coordinator) {
      let created = try await claims.createClaim(.ethernet("web"))
      #expect(created.uid.count == 36)
      let ready = try await claims.wait(for: "web", .ready)
      #expect(ready.status?.assignment?.arrival?.interfaceName == "iov0")
      let functions = try await coordinator.inventory.listFunctions(ListFunctionsRequest()).functions
      #expect(functions.map { $0.reports.map(\.host) } == [["a", "b"]])
      async let gone = claims.wait(for: "web", nil)
      _ = try await claims.deleteClaim(DeleteClaimRequest { $0.name = "web" })
      _ = try await gone
      let error = await rpcError { _ = try await claims.getClaim(GetClaimRequest { $0.name = "web" }) }
      #expect(error?.code == .notFound)
    }
    try await coordinator.stop()
  }

  @Test func errorsArriveWithTheirCodeAndWords() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let claims = coordinator.claims
    try await withAgents(rack, of: coordinator) {
      _ = try await claims.createClaim(.ethernet("web"))
      let other = await rpcError { _ = try await claims.createClaim(.ethernet("web", host: "a")) }
      #expect(other?.code == .alreadyExists)
      let odd = await rpcError { _ = try await claims.createClaim(.ethernet("WEB")) }
      #expect(odd?.code == .invalidArgument)
      #expect(odd?.message.contains("'W'") == true)
      let unknown = await rpcError { _ = try await claims.createClaim(.ethernet("x", host: "z")) }
      #expect(unknown?.code == .invalidArgument)
    }
    try await coordinator.stop()
  }

  @Test func aRestartLosesNothingThatWasAcknowledged() async throws {
    let directory = try TemporaryDirectory()
    let first = try await TestCoordinator(in: directory)
    let before = try await first.inventory.getCluster(GetClusterRequest())
    try await withAgents(rack, of: first) {
      _ = try await first.claims.createClaim(.ethernet("web"))
      _ = try await first.claims.wait(for: "web", .ready)
    }
    try await first.stop()

    let second = try await TestCoordinator(in: directory)
    let after = try await second.inventory.getCluster(GetClusterRequest())
    #expect(after.id == before.id)
    #expect(after.epoch > before.epoch)
    #expect(try await second.claims.getClaim(GetClaimRequest { $0.name = "web" }).status?.phase == .ready)
    try await withAgents(rack, of: second) {
      let again = try await second.claims.createClaim(.ethernet("web"))
      #expect(again.status?.phase == .ready)
      _ = try await second.claims.deleteClaim(DeleteClaimRequest { $0.name = "web" })
      // It may be gone before the watch begins.
      while await rpcError({ _ = try await second.claims.getClaim(GetClaimRequest { $0.name = "web" }) }) == nil {
        await Task.yield()
      }
    }
    try await second.stop()
  }

  @Test func aCoordinatorThatIsKilledHasWhatItAnswered() async throws {
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(in: directory)
    let copies = try TemporaryDirectory()
    try await withAgents(rack, of: coordinator) {
      for number in 0..<20 { _ = try await coordinator.claims.createClaim(.ethernet("claim-\(number)")) }
      // Two files cannot be copied at one moment; once all are ready, nothing is written any more.
      for number in 0..<20 { _ = try await coordinator.claims.wait(for: "claim-\(number)", .ready) }
      // What a killed process leaves: the files as they are, the log not yet in the database.
      for suffix in ["-wal", ""] {
        try FileManager.default.copyItem(
          atPath: directory.file("claims.sqlite") + suffix, toPath: copies.file("claims.sqlite") + suffix)
      }
    }
    let store = try SQLiteStore(path: copies.file("claims.sqlite"))
    let names = try store.load().filter { $0.key.kind == "claim" }.map(\.key.name)
    #expect(Set(names) == Set((0..<20).map { "claim-\($0)" }))
    store.close()
    try await coordinator.stop()
  }

  @Test func aWatchTellsWhatThereIsAndThenEveryChangeInOrder() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let claims = coordinator.claims
    try await withAgents(rack, of: coordinator) {
      _ = try await claims.createClaim(.ethernet("one"))
      _ = try await claims.wait(for: "one", .ready)
      var kinds: [ClaimEventKind] = []
      var revisions: [UInt64] = []
      for try await event in try await claims.watchClaims(WatchClaimsRequest()) {
        kinds.append(event.kind)
        revisions.append(event.revision)
        if event.kind == .synced { _ = try await claims.createClaim(.ethernet("two")) }
        if event.claim?.name == "two", event.claim?.status?.phase == .ready {
          _ = try await claims.deleteClaim(DeleteClaimRequest { $0.name = "two" })
        }
        if event.kind == .gone { break }
      }
      #expect(kinds.prefix(3) == [.exists, .synced, .changed])
      #expect(kinds.last == .gone)
      #expect(revisions == revisions.sorted())
    }
    try await coordinator.stop()
  }

  @Test func aWatchThatWasCutOffGoesOnWhereItWas() async throws {
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(in: directory)
    let claims = coordinator.claims
    var last = ClaimEvent()
    try await withAgents(rack, of: coordinator) {
      _ = try await claims.createClaim(.ethernet("older"))
      _ = try await claims.wait(for: "older", .ready)
      for try await event in try await claims.watchClaims(WatchClaimsRequest()) {
        last = event
        if event.kind == .synced { break }
      }
      #expect(last.epoch == 1)
      _ = try await claims.createClaim(.ethernet("web"))
      let ready = try await claims.wait(for: "web", .ready)
      var revisions: [UInt64] = []
      for try await event in try await claims.watchClaims(.from(last.revision, epoch: last.epoch)) {
        #expect(event.kind == .changed)
        revisions.append(event.revision)
        last = event
        if event.revision == ready.revision { break }
      }
      #expect(revisions.count > 1)
      #expect(revisions == revisions.sorted())
    }
    try await coordinator.stop()

    let second = try await TestCoordinator(in: directory)
    let from = WatchClaimsRequest.from(last.revision, epoch: last.epoch)
    let error = await rpcError { for try await _ in try await second.claims.watchClaims(from) {} }
    #expect(error?.code == .outOfRange)
    #expect(error?.message.contains("watch anew") == true)
    try await second.stop()
  }

  @Test func manyCallersAreEachAnsweredOnce() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let claims = coordinator.claims
    try await withAgents(rack, of: coordinator) {
      let answers = try await withThrowingTaskGroup(of: Claim.self) { group in
        for number in 0..<200 { group.addTask { try await claims.createClaim(.ethernet("claim-\(number % 100)")) } }
        return try await group.reduce(into: [Claim]()) { $0.append($1) }
      }
      #expect(Set(answers.map(\.uid)).count == 100)
      // Those that came before the hosts had reported all they have were answered as pending.
      for number in 0..<100 { _ = try await claims.wait(for: "claim-\(number)", .ready) }
      let held = try await claims.listClaims(ListClaimsRequest()).claims
      #expect(Set(held.compactMap { $0.status?.assignment?.token?.value }).count == 100)
      #expect(held.count == 100)
    }
    try await coordinator.stop()
  }

  // MARK: Sessions

  @Test func anotherInstanceOfANameIsTurnedAway() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    try await withAgents([.withCard], of: coordinator) {
      let impostor = FakeAgent("a", address: "10.0.0.9", instance: "another")
      let error = await rpcError { try await impostor.run(coordinator.channel()) }
      #expect(error?.code == .failedPrecondition, "\(error.debugDescription)")
      #expect(error?.message.contains("belongs to instance instance-of-a") == true)
    }
    try await coordinator.stop()
  }

  @Test func aSessionBeginsWithAHello() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let call = try await AgentSessionsClient(coordinator.channel()).connect()
    try await call.write(AgentMessage { $0.kind = .heartbeat(Heartbeat()) })
    let error = await rpcError { for try await _ in call.responses {} }
    #expect(error?.code == .invalidArgument)
    try await coordinator.stop()
  }

  @Test func anAgentIsWelcomedAndItsHeartbeatsAreAnswered() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let call = try await AgentSessionsClient(coordinator.channel()).connect()
    try await call.write(AgentMessage { $0.kind = .hello(AgentHello { $0.host = FakeAgent.withCard.host }) })
    var kinds: [String] = []
    for try await message in call.responses {
      switch message.kind {
      case .welcome(let welcome):
        kinds.append("welcome")
        #expect(welcome.leaseTermMilliseconds == 10_000)
        #expect(welcome.epoch == 1)
      case .wanted(let wanted):
        kinds.append("wanted")
        #expect(wanted.complete)
        try await call.write(AgentMessage { $0.kind = .heartbeat(Heartbeat { $0.sequence = 42 }) })
      case .heartbeat(let answer):
        kinds.append("heartbeat")
        #expect(answer.sequence == 42)
        call.finishWriting()
      case .rescan: kinds.append("rescan")
      case .statistics: kinds.append("statistics")
      case nil: Issue.record("an empty message")
      }
    }
    #expect(kinds == ["welcome", "wanted", "heartbeat"])
    try await coordinator.stop()
  }

  // MARK: Failures

  @Test func aStoreThatFailsEndsTheCoordinatorAndAnswersNobody() async throws {
    let directory = try TemporaryDirectory()
    let store = FailingStore(try SQLiteStore(path: directory.file("claims.sqlite")))
    let coordinator = try await TestCoordinator(in: directory, store: store)
    let claims = coordinator.claims
    try await withAgents(rack, of: coordinator) {
      _ = try await claims.createClaim(.ethernet("stored"))
      store.breakDown()
      let error = await rpcError { _ = try await claims.createClaim(.ethernet("lost")) }
      #expect(error?.code == .unavailable)
      #expect((await coordinator.failure() as? StoreError)?.reason == .failed)
    }
    let again = try SQLiteStore(path: directory.file("claims.sqlite"))
    #expect(try again.load().filter { $0.key.kind == "claim" }.map(\.key.name) == ["stored"])
    again.close()
  }

  @Test func aStoreThatContradictsItselfIsRefusedWithTheWayBack() async throws {
    let directory = try TemporaryDirectory()
    let coordinator = try await TestCoordinator(in: directory)
    try await withAgents(rack, of: coordinator) {
      _ = try await coordinator.claims.createClaim(.ethernet("web"))
      _ = try await coordinator.claims.wait(for: "web", .ready)
    }
    try await coordinator.stop()
    for change in [
      // A claim is missing that hosts were told of; a record is no message.
      StoreChange.remove(StoreKey(kind: "claim", name: "web")),
      StoreChange.put(StoreKey(kind: "claim", name: "web"), BackupChunk { $0.data = [0xFF] }),
    ] {
      let store = try SQLiteStore(path: directory.file("claims.sqlite"))
      try store.commit([change])
      store.close()
      do {
        try await TestCoordinator(in: directory).stop()
        Issue.record("started")
      } catch let error as StoreError {
        #expect(error.reason == .damaged)
        #expect(error.description.contains("--restore BACKUP"))
      }
    }
  }

  @Test func aPortInUseIsNamed() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let directory = try TemporaryDirectory()
    var configuration = CoordinatorConfiguration(storePath: directory.file("claims.sqlite"))
    configuration.listen = [coordinator.endpoint]
    let store = try SQLiteStore(path: configuration.store.path)
    let second = try CoordinatorDaemon(configuration: configuration, store: store, logger: quiet)
    let error = await rpcError { _ = try await second.bind() }
    #expect(error?.message.contains("\(coordinator.endpoint) is in use") == true)
    try await coordinator.stop()
  }
}
