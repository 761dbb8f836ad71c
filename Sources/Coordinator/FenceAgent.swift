import Configuration
import Glibc
import LinuxDevices

/// A program that switches one host off from outside, by the fence agent interface of ClusterLabs
/// (https://github.com/ClusterLabs/fence-agents/blob/main/doc/FenceAgentAPI.md): settings as lines of `key=value` on standard
/// input, an action among them, the answer in the exit code.
public struct FenceAgent: Sendable, Hashable {
  public var host: String
  /// The program: `/usr/sbin/fence_ipmilan`.
  public var path: String
  /// The program's own settings: `ip`, `username`, `password`, `plug`. They go nowhere but to its standard input.
  public var options: [String: String]
  public var timeoutSeconds: UInt32
  /// Whether the coordinator may use it without being asked, where something waits for proof from a silent host.
  public var isAutomatic: Bool

  public init(
    host: String, path: String, options: [String: String] = [:], timeoutSeconds: UInt32 = 60, isAutomatic: Bool = false
  ) {
    self.host = host
    self.path = path
    self.options = options
    self.timeoutSeconds = timeoutSeconds
    self.isAutomatic = isAutomatic
  }

  /// Why the host is not known to be off, in words for the operator.
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  /// Switches the host off and returns when it says itself that it is off. Blocks.
  ///
  /// A timeout is a failure, and so is an agent that says it is done while the host's power is on: success is proof, and
  /// what the host held is given to others.
  func fence() throws(Failure) {
    let clock = ContinuousClock()
    let deadline = clock.now + .seconds(Int64(timeoutSeconds))
    let off = try run(.off, until: deadline)
    guard off.status == .exited(0) else { throw failure(.off, off) }
    while true {
      let status = try run(.status, until: deadline)
      switch status.status {
      case .exited(2)?: return
      // Some power switches take a moment.
      case .exited(0)? where clock.now + Self.pause < deadline: Self.rest()
      case .exited(0)?:
        throw Failure(description: "\(path) said that \(host) is off, and then that its power is still on")
      default: throw failure(.status, status)
      }
    }
  }

  private enum Action: String { case off, status }

  private static let pause = Duration.seconds(1)

  private static func rest() { usleep(1_000_000) }

  private func run(_ action: Action, until deadline: ContinuousClock.Instant) throws(Failure) -> Command.Outcome {
    do {
      return try Command(executable: path, input: input(action.rawValue)).run(
        atMost: max(.zero, deadline - ContinuousClock().now))
    } catch {
      throw Failure(description: "cannot run the fence agent of \(host): \(error)")
    }
  }

  private func input(_ action: String) -> String {
    let lines = options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)\n" }
    // The last one of a name counts, so that no option can make another action of it.
    return lines.joined() + "nodename=\(host)\naction=\(action)\n"
  }

  private func failure(_ action: Action, _ outcome: Command.Outcome) -> Failure {
    let how = outcome.status.map { "ended with \($0)" } ?? "did not end within \(timeoutSeconds) s and was killed"
    let said = withoutSecrets(outcome.complaints)
    return Failure(
      description: "\(path) action=\(action.rawValue) for \(host) \(how)" + (said.isEmpty ? "" : ": \(said)"))
  }

  /// The last line of what the agent said, without the values of its settings: one of them is a password.
  private func withoutSecrets(_ complaints: String) -> String {
    var said =
      complaints.split(whereSeparator: \.isNewline).last { !$0.allSatisfy(\.isWhitespace) }.map(String.init) ?? ""
    // Short values that are no secret by their name would tear every other word apart.
    let secrets = options.filter { $0.value.count >= 4 || $0.key.contains("pass") }.values.filter { !$0.isEmpty }
    for value in secrets.sorted(by: { $0.count > $1.count }) {
      said = said.split(separator: value, omittingEmptySubsequences: false).joined(separator: "***")
    }
    return String(said.prefix(300))
  }
}

extension FenceAgent: Decodable {
  private enum CodingKeys: String, CodingKey {
    case host, agent, options, timeoutSeconds, automatic
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    host = try values.decodeIfPresent(String.self, forKey: .host) ?? ""
    path = try values.decodeIfPresent(String.self, forKey: .agent) ?? ""
    options = try values.decodeIfPresent([String: String].self, forKey: .options) ?? [:]
    timeoutSeconds = try values.decodeIfPresent(UInt32.self, forKey: .timeoutSeconds) ?? 60
    isAutomatic = try values.decodeIfPresent(Bool.self, forKey: .automatic) ?? false
    try check()
  }

  private func check() throws {
    guard !host.isEmpty else { throw InvalidValue("host is missing: the name of the host that the agent can fence") }
    guard path.hasPrefix("/") else {
      throw InvalidValue("agent is the whole path of a fence agent, /usr/sbin/fence_ipmilan for one, and not '\(path)'")
    }
    guard (1...3600).contains(timeoutSeconds) else {
      throw InvalidValue("timeoutSeconds is \(timeoutSeconds); it must be 1 to 3600")
    }
    for (name, value) in options.sorted(by: { $0.key < $1.key }) {
      guard !["action", "option", "nodename"].contains(name) else {
        throw InvalidValue("options holds '\(name)', which the coordinator says itself")
      }
      guard !name.isEmpty, !name.contains(where: { $0 == "=" || $0 == "#" || $0.isWhitespace || $0.isNewline }) else {
        throw InvalidValue("options holds '\(name)', which is no name of a fence agent's setting")
      }
      guard !value.contains(where: \.isNewline) else {
        throw InvalidValue("the value of options.\(name) has more than one line")
      }
    }
  }
}
