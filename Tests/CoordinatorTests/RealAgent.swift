import Foundation
import LinuxDevices
import Services

/// An agent and its plugin in processes of their own, on a host that sees the shared device of a directory. They end with the last
/// reference to it.
final class RealAgent: Sendable {
  let host: String
  private let directory: TemporaryDirectory
  private let child: ChildProcess

  init(_ host: String, in directory: TemporaryDirectory, _ coordinator: SocketEndpoint) throws {
    self.host = host
    self.directory = directory
    let device = directory.file("device")
    try FileManager.default.createDirectory(atPath: device, withIntermediateDirectories: true)
    try "device=\(device) host=\(host)".write(
      toFile: directory.file("\(host).words"), atomically: true, encoding: .utf8)
    try """
    host: \(host)
    coordinator: "\(coordinator)"
    mediation: {address: 127.0.0.1}
    stateDirectory: \(directory.file("\(host)-state"))
    runtimeDirectory: \(directory.file("\(host)-run"))
    logLevel: critical
    plugins:
      - {name: test, executable: \(Self.programs)/TestPlugin, configuration: \(directory.file("\(host).words"))}
    """.write(toFile: directory.file("\(host).yaml"), atomically: true, encoding: .utf8)
    child = try ChildProcess.spawn(
      executable: Self.programs + "/iov-agent", arguments: ["--config", directory.file("\(host).yaml")])
  }

  deinit { try? child.kill(SIGKILL) }

  static let programs: String = {
    let program = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return String(program[..<(program.lastIndex(of: "/") ?? program.startIndex)])
  }()

  /// As when the power goes: nothing is let go of. What it had is still there, as a disk's reservation is.
  func kill() async throws {
    let pid = try? String(contentsOfFile: directory.file("\(host)-state/plugins/test/pid"), encoding: .utf8)
    let plugin = pid.flatMap { Int32($0) }.flatMap { ProcessIdentity(of: $0) }.flatMap { ProcessHandle($0) }
    try child.kill(SIGKILL)
    try await child.waitUntilExit()
    try await plugin?.waitUntilExit()
  }

  /// What its plugin has, "function-ROLE-TOKEN".
  var functionFiles: [String] {
    let names = try? FileManager.default.contentsOfDirectory(atPath: directory.file("\(host)-state/plugins/test"))
    return (names ?? []).filter { $0.hasPrefix("function-") }.sorted()
  }
}
