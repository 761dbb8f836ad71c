import Foundation
import Glibc
import LinuxDevices
import Testing

/// The daemons' programs, told to stop in the moment in which they begin to listen to that.
@Suite(.timeLimit(.minutes(2)), .serialized)
struct StopTests {
  @Test(arguments: ["SIGTERM", "SIGINT"])
  func aCoordinatorThatIsStoppedWhileItStartsEnds(by name: String) async throws {
    let directory = try TemporaryDirectory()
    let configuration = directory.file("coordinator.yaml")
    try """
    listen: ["unix:\(directory.file("coordinator.sock"))"]
    store: {path: \(directory.file("store.sqlite"))}
    logLevel: critical
    """.write(toFile: configuration, atomically: true, encoding: .utf8)
    try await stopAtStart("iov-coordinator", configuration, name == "SIGTERM" ? SIGTERM : SIGINT)
  }

  @Test func anAgentThatIsStoppedWhileItStartsEnds() async throws {
    let directory = try TemporaryDirectory()
    let configuration = directory.file("agent.yaml")
    try """
    host: host-a
    coordinator: "unix:\(directory.file("nobody.sock"))"
    stateDirectory: \(directory.file("state"))
    runtimeDirectory: \(directory.file("run"))
    logLevel: critical
    """.write(toFile: configuration, atomically: true, encoding: .utf8)
    try await stopAtStart("iov-agent", configuration, SIGTERM)
  }

  private func stopAtStart(_ program: String, _ configuration: String, _ number: CInt) async throws {
    for _ in 0..<20 {
      let child = try ChildProcess.spawn(
        executable: RealAgent.programs + "/" + program, arguments: ["--config", configuration])
      defer { try? child.kill(SIGKILL) }
      while !minds(number, child.identity.pid) && child.identity.isAlive { await Task.yield() }
      try child.kill(number)
      #expect(try await child.waitUntilExit() == .exited(0))
    }
  }

  /// Whether a process catches a signal or ignores it (proc_pid_status(5)).
  private func minds(_ number: CInt, _ pid: pid_t) -> Bool {
    let lines = SmallFile.text("/proc/\(pid)/status")?.split(separator: "\n") ?? []
    return lines.contains { line in
      guard line.hasPrefix("SigCgt:") || line.hasPrefix("SigIgn:") else { return false }
      let mask = UInt64(line.dropFirst(7).filter { !$0.isWhitespace }, radix: 16) ?? 0
      return mask & 1 << UInt64(number - 1) != 0
    }
  }
}
