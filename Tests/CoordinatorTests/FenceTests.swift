import Arbitration
import ClaimStore
import Configuration
import Foundation
import LinuxDevices
import Logging
import Services
import Synchronization
import Testing

@testable import Coordinator

/// A fence agent in shell, that switches a file's word instead of a power outlet.
final class TestFenceAgent: Sendable {
  private let directory: TemporaryDirectory
  let path: String

  /// - Parameters:
  ///   - off: what the script does for `action=off`.
  ///   - status: what it does for `action=status`.
  init(
    off: String = "echo off > power", status: String = "[ \"$(cat power)\" = off ] && exit 2; exit 0"
  ) async throws {
    directory = try TemporaryDirectory()
    path = directory.file("fence_test")
    let script = """
      #!/bin/sh
      cd "$(dirname "$0")"
      [ $# = 0 ] || exit 9
      while read -r line; do
        echo "$line" >> input
        case "$line" in action=*) action=${line#action=};; esac
      done
      case $action in
        off) \(off);;
        status) \(status);;
        *) exit 1;;
      esac
      """
    // Written by another process: a file that is open for writing anywhere cannot be run (execve(2), ETXTBSY), and a test
    // that starts a program at this moment would hold it open for a while.
    let write = Command(
      executable: "sh", arguments: ["-c", "echo on > \(directory.file("power")); cat > \(path); chmod +x \(path)"],
      input: script)
    _ = try await BlockingThread.detached { try write.run(atMost: .seconds(30)) }
  }

  /// The lines that it was given, of all runs.
  var input: [String] {
    let bytes = FileManager.default.contents(atPath: directory.file("input")) ?? Data()
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
  }

  func agent(_ host: String, timeoutSeconds: UInt32 = 30, isAutomatic: Bool = false) -> FenceAgent {
    FenceAgent(
      host: host, path: path, options: ["ip": "10.9.8.7", "password": "hush-hush"], timeoutSeconds: timeoutSeconds,
      isAutomatic: isAutomatic)
  }
}

@Suite(.timeLimit(.minutes(1))) struct FenceTests {
  private func failure(_ agent: FenceAgent) async -> String {
    do {
      try await BlockingThread.detached { try agent.fence() }
      return ""
    } catch {
      return "\(error)"
    }
  }

  @Test func aHostIsOffWhenItsAgentHasReadItBack() async throws {
    let script = try await TestFenceAgent()
    #expect(await failure(script.agent("b")) == "")
    let settings = ["ip=10.9.8.7", "password=hush-hush", "nodename=b"]
    #expect(script.input == settings + ["action=off"] + settings + ["action=status"])
  }

  @Test func anAgentThatIsDoneWhileThePowerIsOnHasFailed() async throws {
    let script = try await TestFenceAgent(off: "exit 0")
    #expect(await failure(script.agent("b", timeoutSeconds: 1)).contains("its power is still on"))
    let mute = try await TestFenceAgent(status: "exit 1")
    #expect(await failure(mute.agent("b")).contains("action=status for b ended with exit code 1"))
  }

  @Test func thePowerMayTakeAMomentToGo() async throws {
    let slow = try await TestFenceAgent(
      status: "[ -e asked ] && exit 2; touch asked; exit 0")
    #expect(await failure(slow.agent("b")) == "")
  }

  @Test func anAgentThatFailsIsQuotedWithoutSecrets() async throws {
    let script = try await TestFenceAgent(off: "echo 'login at 10.9.8.7 with hush-hush refused' >&2; exit 1")
    let words = await failure(script.agent("b"))
    #expect(words.contains("ended with exit code 1: login at *** with *** refused"))
    #expect(!words.contains("hush"))
  }

  @Test func anAgentThatHangsIsKilled() async throws {
    let script = try await TestFenceAgent(off: "sleep 1000")
    #expect(await failure(script.agent("b", timeoutSeconds: 1)).contains("did not end within 1 s"))
    let missing = FenceAgent(host: "b", path: "/nonexistent/fence")
    #expect(await failure(missing).contains("find program /nonexistent/fence"))
  }

  // MARK: Through the coordinator

  private let rack = [FakeAgent.withCard, FakeAgent.withoutCard]

  @Test func anOperatorHasAHostFenced() async throws {
    let script = try await TestFenceAgent()
    let log = TestLog()
    let coordinator = try await TestCoordinator(in: TemporaryDirectory(), logger: log.logger) {
      $0.fence = [script.agent("b")]
    }
    try await withAgents(rack, of: coordinator) {
      // Connected or not: its session ends with it.
      let host = try await coordinator.operations.fenceHost(FenceHostRequest { $0.host = "b" })
      #expect(host.death?.reason == "fenced by \(script.path)")
      #expect(host.death?.bootId == "boot")
      let others = await rpcError { _ = try await coordinator.operations.fenceHost(FenceHostRequest { $0.host = "a" }) }
      #expect(others?.code == .failedPrecondition)
      #expect(others?.message.contains("iov host confirm-dead a") == true)
      let unknown = await rpcError {
        _ = try await coordinator.operations.fenceHost(FenceHostRequest { $0.host = "z" })
      }
      #expect(unknown?.code == .notFound)
    }
    #expect(
      log.lines.contains { $0.contains("host is dead") && $0.contains("host=b") && $0.contains("reason=fenced by") })
    #expect(!log.lines.contains { $0.contains("hush") })
    try await coordinator.stop()
  }

  @Test func aFenceThatFailsProvesNothing() async throws {
    let script = try await TestFenceAgent(off: "exit 1")
    let coordinator = try await TestCoordinator(in: TemporaryDirectory()) { $0.fence = [script.agent("b")] }
    try await withAgents(rack, of: coordinator) {
      let error = await rpcError { _ = try await coordinator.operations.fenceHost(FenceHostRequest { $0.host = "b" }) }
      #expect(error?.code == .aborted)
      #expect(error?.message.contains("b is not known to be off") == true)
      let hosts = try await coordinator.inventory.listHosts(ListHostsRequest()).hosts
      #expect(hosts.map(\.state) == [.connected, .connected])
    }
    try await coordinator.stop()
  }

  @Test func aSilentHostIsFencedWhereItsOperatorAllowsIt() async throws {
    let script = try await TestFenceAgent()
    let coordinator = try await TestCoordinator(in: TemporaryDirectory()) {
      $0.fence = [script.agent("b", isAutomatic: true)]
      $0.leaseTermMilliseconds = 1000
      $0.heartbeatIntervalMilliseconds = 300
      $0.fenceMarginMilliseconds = 100
    }
    let claims = coordinator.claims
    try await withAgents(rack, of: coordinator) {
      _ = try await claims.createClaim(.ethernet("web"))
      _ = try await claims.wait(for: "web", .ready)
    }
    // Both are silent now. What is released waits for b's word, and b cannot give it.
    let gone = Task { try await claims.wait(for: "web", nil) }
    _ = try await claims.deleteClaim(DeleteClaimRequest { $0.name = "web" })
    let server = Task { try await FakeAgent.withCard.run(coordinator.channel()) }
    _ = try await gone.value
    #expect(script.input.contains("action=off"))
    server.cancel()
    try await coordinator.stop()
  }

  /// What is known of a host that is connected as the run `bootID`, once its run "boot" was fenced unasked.
  private func fencingAHostThatCameBack(as bootID: String, logger: Logger) async throws -> Services.Host? {
    let script = try await TestFenceAgent()
    let directory = try TemporaryDirectory()
    var settings = ArbiterSettings()
    settings.leaseTermMilliseconds = 300
    let store = try SQLiteStore(path: directory.file("claims.sqlite"))
    let arbiter = try DurableArbiter(store: store, settings: settings, now: SystemClock.now, logger: quiet)
    let hello = AgentHello {
      $0.host = FakeAgent.withoutCard.host
      $0.host?.bootId = bootID
    }
    let session = arbiter.openSession()
    arbiter.begin(session.id, hello)
    await Fencer(agents: [script.agent("b")], arbiter: arbiter, logger: logger).fenceSilent("b", bootID: "boot")
    let host = arbiter.read { $0.listedHosts.first { $0.name == "b" } }
    await arbiter.stop()
    store.close()
    return host
  }

  @Test func aHostThatCameBackJustBeforeItWasSwitchedOffIsDead() async throws {
    let host = try await fencingAHostThatCameBack(as: "boot", logger: quiet)
    #expect(host?.state == .dead)
    #expect(host?.death?.reason.hasPrefix("fenced by") == true)
  }

  @Test func aLaterRunOfAFencedHostIsNotTakenForDead() async throws {
    let log = TestLog()
    let host = try await fencingAHostThatCameBack(as: "later boot", logger: log.logger)
    #expect(host?.state == .connected)
    #expect(log.lines.contains { $0.contains("not taken for dead") && $0.contains("that one may be alive") })
  }

  // MARK: Configuration

  private func fence(_ text: String) -> Result<[FenceAgent], ConfigurationError> {
    Result { () throws(ConfigurationError) in
      try Configuration.decode(
        CoordinatorConfiguration.self, from: "store: {path: /x/c.sqlite}\nfence:\n" + text, named: "coordinator.yaml"
      ).fence
    }
  }

  @Test func fenceAgentsAreConfigured() throws {
    let agents = try fence(
      """
        - host: host-b
          agent: /usr/sbin/fence_ipmilan
          options: {ip: 10.0.0.7, username: fence, password: "with = and space", lanplus: "1"}
          automatic: true
        - {host: host-c, agent: /usr/sbin/fence_apc, timeoutSeconds: 10}
      """
    ).get()
    #expect(agents.map(\.host) == ["host-b", "host-c"])
    #expect(agents[0].options["password"] == "with = and space")
    #expect(agents.map(\.isAutomatic) == [true, false])
    #expect(agents.map(\.timeoutSeconds) == [60, 10])
  }

  @Test(arguments: [
    ("  - {agent: /x}", "host is missing"), ("  - {host: b}", "whole path"),
    ("  - {host: b, agent: fence_x}", "whole path"), ("  - {host: b, agent: /x, timeoutSeconds: 0}", "1 to 3600"),
    ("  - {host: b, agent: /x, options: {action: on}}", "says itself"),
    ("  - {host: b, agent: /x, options: {\"a b\": c}}", "no name"),
    ("  - {host: b, agent: /x, options: {a: \"b\\nc\"}}", "more than one line"),
    ("  - {host: b, agent: /x}\n  - {host: b, agent: /y}", "2 agents for host 'b'"),
    ("  - {host: b, agent: /x, automatik: true}", "did you mean 'automatic'"),
  ])
  func whatIsNoFenceAgentIsExplained(_ text: String, _ words: String) {
    guard case .failure(let error) = fence(text) else {
      Issue.record("taken: \(text)")
      return
    }
    #expect(error.description.contains(words), "\(error)")
  }
}
