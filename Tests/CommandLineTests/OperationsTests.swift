import FoundationEssentials
import Services
import Testing

@testable import iov

@Suite struct HostOperationsTests {
  private func rackWithAHostAway(_ change: (inout FakeCoordinator.World) -> Void = { _ in }) async throws
    -> FakeCoordinator
  {
    try await FakeCoordinator { world in
      world.fillWithSample()
      world.hosts[0].state = .disconnected
      change(&world)
    }
  }

  private func wasConfirmed(_ fake: FakeCoordinator) -> Bool {
    fake.world.withLock { $0.calls.contains("confirmHostDead boot-of-host-a") }
  }

  @Test func aScriptMustSayYes() async throws {
    let fake = try await rackWithAHostAway()
    let refused = try await fake.iov("host", "confirm-dead", "host-a", input: "host-a\n")
    #expect(refused.code == 1)
    #expect(refused.errors.contains("give --yes"))
    #expect(!wasConfirmed(fake))
    let done = try await fake.iov("host", "confirm-dead", "host-a", "--yes")
    #expect(done.output == "host host-a is dead: confirmed by an operator\n")
    // What it means was shown: web is served from there.
    #expect(done.errors.contains("web    host-b"))
    #expect(wasConfirmed(fake))
    #expect(try await fake.iov("host", "confirm-dead", "host-a").code == 0)
  }

  @Test(.enabled(if: terminalProgram != nil, "needs the program `script`"))
  func onATerminalTheNameMustBeTyped() async throws {
    let fake = try await rackWithAHostAway()
    let terminal = try #require(terminalProgram)
    let command = ([programPath] + fake.arguments(["host", "confirm-dead", "host-a"])).joined(separator: " ")
    let other = try await run(["-qec", command, "/dev/null"], program: terminal, input: "host-b\n")
    #expect(other.output.contains("Type host-a to go on"))
    #expect(other.output.contains("nothing was done"))
    #expect(other.code == 1)
    #expect(!wasConfirmed(fake))
    let same = try await run(["-qec", command, "/dev/null"], program: terminal, input: "host-a\n")
    #expect(same.code == 0, "\(same.output)")
    #expect(wasConfirmed(fake))
  }

  @Test func aHostThatIsAliveIsNotDead() async throws {
    let fake = try await rackWithAHostAway()
    let run = try await fake.iov("host", "confirm-dead", "host-b", "--yes")
    #expect(run.code == 1)
    #expect(run.errors.contains("its agent is alive"))
    #expect(try await fake.iov("host", "confirm-dead", "host-x", "--yes").code == 2)
  }

  @Test func aConfirmationWhoseAnswerWasLostIsAskedAgain() async throws {
    let fake = try await rackWithAHostAway { $0.lostAnswers = ["confirmHostDead boot-of-host-a": 1] }
    #expect(try await fake.iov("host", "confirm-dead", "host-a", "--yes").code == 0)
  }

  @Test func aFenceIsAskedForOnce() async throws {
    let fake = try await rackWithAHostAway { $0.lostAnswers = ["fenceHost": 1] }
    let lost = try await fake.iov("host", "fence", "host-a")
    #expect(lost.code == 3)
    #expect(lost.errors.contains("is not known: iov host describe host-a"))
    #expect(fake.world.withLock { $0.calls.filter { $0 == "fenceHost" }.count } == 1)
    #expect(
      try await fake.iov("host", "fence", "host-b").output == "host host-b is dead: fenced by /usr/sbin/fence_test\n")
  }

  @Test func aHostIsForgottenOnce() async throws {
    let fake = try await rackWithAHostAway { $0.lostAnswers = ["forgetHost": 1] }
    #expect(try await fake.iov("host", "forget", "host-a").output == "host host-a is forgotten\n")
    #expect(try await fake.iov("host", "forget", "host-a").code == 2)
  }
}

@Suite struct OrphanTests {
  private func rack() async throws -> FakeCoordinator {
    try await FakeCoordinator {
      $0.orphans = [.sample("f-1", on: "host-a"), .sample("f-1", on: "host-b"), .sample("f-2", on: "host-b")]
    }
  }

  @Test func aFunctionInTwoPartsHasOneName() async throws {
    let fake = try await rack()
    #expect(try await fake.iov("orphan", "list", "-o", "name").lines == ["f-1", "f-2"])
    #expect(try await fake.iov("orphan", "list").lines.count == 4)
  }

  @Test func anAdoptedOrphanIsAClaim() async throws {
    let fake = try await rack()
    fake.world.withLock { $0.lostAnswers = ["adoptOrphan": 1] }
    let run = try await fake.iov("orphan", "adopt", "f-1")
    #expect(run.code == 0, "\(run.errors)")
    #expect(run.output.hasPrefix("Name           lost\n"))
    #expect(fake.world.withLock { $0.claims.map(\.name) } == ["lost"])
    let held = try await fake.iov("orphan", "adopt", "f-1")
    #expect(held.code == 1)
    #expect(held.errors.contains("claim 'lost' holds it"))
    let unknown = try await fake.iov("orphan", "adopt", "f-3")
    #expect(unknown.code == 2)
    #expect(unknown.errors.contains("did you mean 'f-2'?"))
  }

  @Test func aPurgeIsConfirmed() async throws {
    let fake = try await rack()
    #expect(try await fake.iov("orphan", "purge", "f-1").code == 1)
    #expect(fake.world.withLock { $0.orphans.allSatisfy { !$0.releasing } })
    let run = try await fake.iov("orphan", "purge", "f-1", "--host", "host-b", "--yes")
    #expect(run.code == 0)
    #expect(fake.world.withLock { $0.orphans.map(\.releasing) } == [false, true, false])
    #expect(try await fake.iov("orphan", "purge", "f-9", "--yes").code == 2)
  }

  @Test func anOlderCoordinatorIsNamedAsTheReason() async throws {
    let fake = try await FakeCoordinator(hasOperations: false)
    let run = try await fake.iov("orphan", "list")
    #expect(run.code == 1)
    #expect(run.errors.contains("older than this program"))
  }
}

@Suite struct BackupTests {
  private func rack() async throws -> FakeCoordinator {
    try await FakeCoordinator { world in
      world.fillWithSample()
      world.claims[0].revision = 95
      world.backup = [Array("first ".utf8), [], Array("second".utf8)]
    }
  }

  private func read(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }

  @Test func aBackupReplacesNothingUnasked() async throws {
    let fake = try await rack()
    let file = fake.file("backup")
    let run = try await fake.iov("backup", file)
    #expect(run.code == 0, "\(run.errors)")
    #expect(read(file) == "first second")
    let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
    #expect(mode == 0o600)
    fake.world.withLock { $0.backup = [Array("third".utf8)] }
    let refused = try await fake.iov("backup", file)
    #expect(refused.code == 1)
    #expect(refused.errors.contains("--force"))
    #expect(read(file) == "first second")
    #expect(try await fake.iov("backup", file, "--force").code == 0)
    #expect(read(file) == "third")
    #expect(try FileManager.default.contentsOfDirectory(atPath: fake.file("")).sorted() == ["backup", "socket"])
  }

  @Test func aBackupThatFailsLeavesNothingBehind() async throws {
    let fake = try await rack()
    fake.world.withLock { $0.backup = [] }
    #expect(try await fake.iov("backup", fake.file("backup")).code == 1)
    #expect(try await fake.iov("backup", fake.file("none/backup")).errors.contains("No such file or directory"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: fake.file("")) == ["socket"])
  }

  @Test func aBackupGoesThroughAPipe() async throws {
    let fake = try await rack()
    #expect(try await fake.iov("backup", "-").output == "first second")
    let restored = try await fake.iov("restore", "-", "--yes", input: "first second")
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(fake.world.withLock { $0.restored } == Array("first second".utf8))
    #expect(try await fake.iov("restore", "-", input: "first second").code == 1)
  }

  @Test func aRestoreSaysWhatIsLost() async throws {
    let fake = try await rack()
    let file = fake.file("backup")
    try "first second".write(toFile: file, atomically: false, encoding: .utf8)
    fake.world.withLock { $0.claims.append(.waiting("newer", .pending)) }
    fake.world.withLock { $0.claims[1].created = Timestamp(seconds: Timestamp.now().seconds + 60) }
    let refused = try await fake.iov("restore", file)
    #expect(refused.code == 1)
    #expect(refused.errors.contains("Claims made since that file was written, which would be lost:"))
    #expect(refused.errors.contains("  newer"))
    #expect(fake.world.withLock { $0.restored.isEmpty })
    let done = try await fake.iov("restore", file, "--yes")
    #expect(done.output.contains("Former store      /var/lib/iov/claims.sqlite.before-restore"))
    #expect(done.errors.contains("as they were then, or lost: web"))
    #expect(try await fake.iov("restore", fake.file("none"), "--yes").code == 1)
    #expect(try await fake.iov("restore", fake.file(""), "--yes").code == 1)
  }

  @Test func aRestoreThatWasNotCarriedOutIsNoSuccess() async throws {
    let fake = try await rack()
    fake.world.withLock { $0.keepsItsStore = true }
    let run = try await fake.iov("restore", "-", "--yes", input: "first second")
    #expect(run.code != 0)
    #expect(run.errors.contains("the coordinator began anew with the store that it had"))
    #expect(!run.output.contains("Former store"))
  }

  @Test func aLargeBackupIsSentInPieces() async throws {
    let fake = try await rack()
    let file = fake.file("backup")
    let bytes = [UInt8](repeating: 7, count: 5_000_000)
    try Data(bytes).write(to: URL(filePath: file))
    let run = try await fake.iov("restore", file, "--yes")
    #expect(run.code == 0, "\(run.errors)")
    // Not as an expectation on the arrays: how they differ would take an hour to find out.
    let isWhole = fake.world.withLock { $0.restored == bytes }
    #expect(isWhole)
  }
}

/// Gives a program a terminal.
private let terminalProgram = ["/usr/bin/script", "/bin/script"].first {
  FileManager.default.isExecutableFile(atPath: $0)
}
