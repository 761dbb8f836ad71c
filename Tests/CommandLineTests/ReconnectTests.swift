import Services
import Testing

@testable import iov

@Suite(.timeLimit(.minutes(1))) struct ReconnectTests {
  private func claim(_ name: String, uid: String = "1", _ phase: ClaimPhase = .ready) -> Claim {
    Claim {
      $0.name = name
      $0.uid = uid
      $0.status = ClaimStatus { $0.phase = phase }
    }
  }

  private func client(_ fake: FakeCoordinator, seconds: UInt32 = 30) -> Coordinator {
    Coordinator(fake.endpoint, patience: Patience(seconds: seconds))
  }

  // MARK: Single calls

  @Test func aQuestionWaitsForACoordinatorThatRestarts() async throws {
    let fake = try await FakeCoordinator { $0.claims = [claim("web")] }
    try await fake.stop()
    async let answer = client(fake).claim(named: "web")
    try await fake.start()
    #expect(try await answer.name == "web")
  }

  @Test func withoutPatienceThereIsOneTry() async throws {
    let fake = try await FakeCoordinator()
    try await fake.stop()
    let run = try await fake.iov("claim", "list", "--connect-timeout", "0")
    #expect(run.code == 3)
    #expect(!run.errors.contains("trying again"))
    #expect(run.errors.contains("is the coordinator running at unix:"))
  }

  @Test func whenTheTimeIsOverTheCodeIsThree() async throws {
    let fake = try await FakeCoordinator()
    try await fake.stop()
    let run = try await fake.iov("claim", "list", "--connect-timeout", "1")
    #expect(run.code == 3)
    #expect(run.errors.split(separator: "\n").filter { $0.contains("trying again for 1 s") }.count == 1)
  }

  @Test func aCreationWhoseAnswerWasLostIsOneClaim() async throws {
    let fake = try await FakeCoordinator { $0.lostAnswers = ["createClaim": 1] }
    let run = try await fake.iov("claim", "create", "web", "--class", "ethernet", "--host", "a", "-o", "json")
    #expect(run.code == 0, "\(run.errors)")
    #expect(fake.world.withLock { $0.claims.count } == 1)
  }

  @Test func aDeletionWhoseAnswerWasLostIsDone() async throws {
    let fake = try await FakeCoordinator { world in
      world.claims = [claim("web")]
      world.lostAnswers = ["deleteClaim": 1]
    }
    #expect(try await fake.iov("claim", "delete", "web").code == 0)
    #expect(try await fake.iov("claim", "delete", "web").code == 2)
  }

  @Test func aDeletionThatIsAskedAgainSparesTheNextClaimOfTheName() async throws {
    let fake = try await FakeCoordinator { world in
      world.claims = [claim("web", uid: "new")]
    }
    fake.world.withLock { $0.lostAnswers = ["deleteClaim": 1] }
    let coordinator = client(fake)
    async let deleted = coordinator.delete(claim("web", uid: "old"))
    // The first deletion took it, and somebody creates another one before the second.
    while fake.world.withLock({ !$0.calls.contains("deleteClaim") }) { await Task.yield() }
    fake.world.withLock { $0.claims = [claim("web", uid: "newer")] }
    #expect(try await deleted.uid == "old")
    #expect(fake.world.withLock { $0.claims.map(\.uid) } == ["newer"])
  }

  // MARK: Watches

  private func untilWatched(_ fake: FakeCoordinator, times: Int) async {
    while fake.world.withLock({ $0.watchRequests.count < times }) { await Task.yield() }
  }

  @Test func aWatchGoesOnAfterTheLastRevision() async throws {
    let fake = try await FakeCoordinator { world in
      world.claims = [claim("web")]
      world.cluster.revision = 7
      world.events = [world.event(.changed, claim("data"), revision: 8)]
    }
    var told: [String] = []
    try await client(fake).followClaims(named: "") { event in
      told.append("\(event.kind) \(event.claim?.name ?? "")")
      if event.revision == 8 {
        fake.world.withLock { world in world.events.append(world.event(.gone, claim("web"), revision: 9)) }
        Task {
          try await fake.stop()
          try await fake.start()
        }
      }
      return event.kind != .gone
    }
    #expect(told == ["exists web", "synced ", "changed data", "gone web"])
    #expect(fake.world.withLock { $0.watchRequests.map(\.fromRevision) } == [0, 8])
  }

  @Test func aWatchGoesOnBehindWhatItsCallerHasSeen() async throws {
    let fake = try await FakeCoordinator { world in
      world.claims = [claim("web")]
      world.events = [world.event(.changed, claim("data"), revision: 8)]
    }
    var told: [String] = []
    try await client(fake).followClaims(named: "", after: (revision: 7, epoch: 3)) { event in
      told.append("\(event.kind) \(event.claim?.name ?? "")")
      return false
    }
    #expect(told == ["changed data"])
    let old = try await fake.iov("claim", "watch", "--from-revision", "7", "--epoch", "1")
    #expect(old.code == 1 && old.errors.contains("revisions of different epochs do not compare"))
    #expect(fake.world.withLock { $0.watchRequests.map(\.fromRevision) } == [7, 7])
    let half = try await fake.iov("claim", "watch", "--from-revision", "7")
    #expect(half.code == 64 && half.errors.contains("--from-revision and --epoch go together"))
    #expect(try await fake.iov("claim", "watch", "--from-revision", "0", "--epoch", "1").code == 64)
  }

  @Test func afterAnotherEpochWhatIsGoneIsToldByComparing() async throws {
    let fake = try await FakeCoordinator { world in
      world.claims = [claim("web"), claim("data"), claim("old")]
      world.cluster.revision = 7
      world.events = [world.event(.changed, claim("last"), revision: 8)]
    }
    let coordinator = client(fake)
    var told: [String] = []
    try await coordinator.followClaims(named: "") { event in
      told.append("\(event.kind) \(event.claim.map { "\($0.name)/\($0.uid)" } ?? "")")
      if event.claim?.name == "last", event.kind == .changed {
        // Another coordinator with an older store is there now.
        fake.world.withLock { world in
          world.cluster.epoch = 4
          world.events = []
          world.claims = [claim("web"), claim("data", uid: "2"), claim("new")]
        }
        Task {
          try await fake.stop()
          try await fake.start()
        }
      }
      return !(event.kind == .gone && event.claim?.name == "old")
    }
    #expect(
      told == [
        "exists web/1", "exists data/1", "exists old/1", "synced ", "changed last/1",
        "gone data/1", "changed data/2", "changed new/1", "gone last/1", "gone old/1",
      ])
  }

  @Test func aWaitGoesOnOverARestart() async throws {
    let fake = try await FakeCoordinator { world in
      world.cluster.revision = 7
      world.claims = [claim("web", .preparing)]
    }
    let limit = try WaitLimit.parse([])
    async let reached = client(fake).claim(named: "web", uid: "1", reaches: .ready, within: limit)
    await untilWatched(fake, times: 1)
    try await fake.stop()
    fake.world.withLock { world in
      world.claims = [claim("web", .ready)]
      world.cluster.epoch = 4
    }
    try await fake.start()
    #expect(try await reached?.status?.phase == .ready)
  }

  @Test func aClaimThatIsGoneIsNotWaitedFor() async throws {
    let fake = try await FakeCoordinator { $0.claims = [claim("web")] }
    #expect(try await fake.iov("claim", "wait", "none", "--for", "gone").output == "claim none is gone\n")
    #expect(try await fake.iov("claim", "wait", "none", "--for", "ready").code == 2)
    #expect(try await fake.iov("claim", "wait", "web", "--for", "ready").code == 0)
    #expect(try await fake.iov("claim", "wait", "web", "--for", "gone", "--timeout", "1").code == 4)
    #expect(try await fake.iov("claim", "wait", "web").code == 64)
  }
}

@Suite struct WatchMemoryTests {
  private func event(_ kind: ClaimEventKind, _ name: String? = nil, revision: UInt64, epoch: UInt64 = 1) -> ClaimEvent {
    ClaimEvent {
      $0.kind = kind
      $0.claim = name.map { name in Claim { $0.name = name } }
      $0.revision = revision
      $0.epoch = epoch
    }
  }

  @Test func aListThatBrokeOffIsAskedForAgain() {
    var memory = WatchMemory(watching: "")
    let request1 = memory.nextRequest()
    #expect(request1.fromRevision == 0)
    let told2 = memory.receive(event(.exists, "a", revision: 5))
    #expect(told2.count == 1)
    let request3 = memory.nextRequest()
    #expect(request3.fromRevision == 0)
    let told4 = memory.receive(event(.exists, "a", revision: 5))
    #expect(told4.isEmpty)
    let told5 = memory.receive(event(.exists, "b", revision: 6))
    #expect(told5.map(\.kind) == [.exists])
    let told6 = memory.receive(event(.synced, revision: 6))
    #expect(told6.map(\.kind) == [.synced])
    let request7 = memory.nextRequest()
    #expect(request7.fromRevision == 6)
  }

  @Test func aCoordinatorWithoutEpochsIsListedAnew() {
    var memory = WatchMemory(watching: "")
    _ = memory.nextRequest()
    _ = memory.receive(event(.exists, "a", revision: 5, epoch: 0))
    _ = memory.receive(event(.synced, revision: 5, epoch: 0))
    let request8 = memory.nextRequest()
    #expect(request8.fromRevision == 0)
    let told9 = memory.receive(event(.synced, revision: 6, epoch: 0))
    #expect(told9.map(\.kind) == [.gone])
  }

  @Test func aPlaceThatIsUnknownIsGivenUpOnce() {
    var memory = WatchMemory(watching: "")
    _ = memory.nextRequest()
    let hadPlace10 = memory.beginAnew()
    #expect(!hadPlace10)
    _ = memory.receive(event(.synced, revision: 5))
    let request11 = memory.nextRequest()
    #expect(request11.epoch == 1)
    let hadPlace12 = memory.beginAnew()
    #expect(hadPlace12)
    let request13 = memory.nextRequest()
    #expect(request13.fromRevision == 0)
    let hadPlace14 = memory.beginAnew()
    #expect(!hadPlace14)
  }
}
