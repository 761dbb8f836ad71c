import ArgumentParser
import Services

struct TaintCommand<Kind: MaintenanceKind>: AsyncParsableCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: "taint",
      abstract: "Keep away, or take away, what does not tolerate it; or take the taint off again.",
      discussion: """
        KEY=VALUE:EFFECT or KEY:EFFECT sets a taint, KEY:EFFECT- or KEY- takes it off. Effects:
          no-schedule  no new functions for claims that do not tolerate it (iov claim create --tolerate)
          no-execute   and those that have some lose them, once their toleration's seconds are over; not where the claim says \
        never (--evict), nor what holds data on a disk, unless its claim says otherwise
        A host's taints are for what is used on it and for its end nodes.

        Examples:
          iov \(Kind.group) taint NAME slow:no-schedule
          iov \(Kind.group) taint NAME maintenance=fan:no-execute
          iov \(Kind.group) taint NAME maintenance-
        """)
  }

  @Argument(help: "Its name.", completion: Kind.completion) var name: String
  @Argument(help: "Taints to set, and, with a hyphen behind, to take off.") var taints: [TaintArgument]
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard !taints.isEmpty else { throw ValidationError("Name a taint: KEY=VALUE:EFFECT, or KEY- to take it off.") }
  }

  func run() async throws {
    try await withCoordinator(common.connection) { coordinator in
      let request = TaintRequest {
        $0.target = Kind.target(name)
        $0.set = taints.filter { !$0.isRemoved }.map(\.taint)
        $0.remove = taints.filter(\.isRemoved).map(\.taint)
      }
      let answer = try await coordinator.ask { isAgain in
        do {
          return try await coordinator.operations.taint(request, options: .command)
        } catch let error as RPCError where isAgain && error.code == .notFound && request.set.isEmpty {
          // An earlier call whose answer was lost may have taken it off.
          return MaintenanceAnswer()
        }
      }
      common.output.show(answer) {
        let left = (answer.endNode?.taints ?? answer.host?.taints ?? []).map(\.words)
        print("\(Kind.word) \(name) has " + (left.isEmpty ? "no taints" : "the taints \(left.joined(separator: ", "))"))
      }
    }
  }
}

/// `KEY=VALUE:EFFECT`, or one to take off, with a hyphen behind.
struct TaintArgument: ExpressibleByArgument {
  let taint: Taint
  let isRemoved: Bool

  init?(argument: String) {
    isRemoved = argument.hasSuffix("-")
    let parts = (isRemoved ? argument.dropLast() : argument[...]).split(
      separator: ":", omittingEmptySubsequences: false)
    let effect = parts.count == 2 ? TaintEffect(word: parts[1]) : .unspecified
    guard parts.count <= 2, let effect, effect != .unspecified || isRemoved, let (key, value) = keyAndValue(parts[0]),
      !key.isEmpty
    else { return nil }
    taint = Taint {
      $0.key = key
      $0.value = value ?? ""
      $0.effect = effect
    }
  }
}

/// `KEY`, `KEY=VALUE`, `KEY:EFFECT`, `KEY=VALUE:no-execute:SECONDS`; `*` for every key.
struct TolerationOption: ExpressibleByArgument {
  let toleration: Toleration

  init?(argument: String) {
    let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
    guard (1...3).contains(parts.count), let (key, value) = keyAndValue(parts[0]), !key.isEmpty else { return nil }
    let effect = parts.count > 1 ? TaintEffect(word: parts[1]) : .unspecified
    let seconds = parts.count > 2 ? UInt32(parts[2]) : nil
    guard let effect, parts.count < 3 || (seconds != nil && effect == .noExecute), key != "*" || value == nil else {
      return nil
    }
    toleration = Toleration {
      $0.key = key == "*" ? "" : key
      $0.value = value
      $0.effect = effect
      $0.seconds = seconds
    }
  }
}

private func keyAndValue(_ text: Substring) -> (String, String?)? {
  let parts = text.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
  guard parts.count <= 2 else { return nil }
  return (parts[0], parts.count == 2 ? parts[1] : nil)
}

extension TaintEffect {
  fileprivate init?(word: Substring) {
    switch word {
    case "no-schedule": self = .noSchedule
    case "no-execute": self = .noExecute
    default: return nil
    }
  }

  fileprivate var suffix: String {
    switch self {
    case .noSchedule: ":no-schedule"
    case .noExecute: ":no-execute"
    case .unspecified, .unrecognized: ""
    }
  }
}

extension Taint {
  var words: String { key + (value.isEmpty ? "" : "=\(value)") + effect.suffix }
}

extension Toleration {
  var words: String {
    (key.isEmpty ? "*" : key) + (value.map { "=\($0)" } ?? "") + effect.suffix + (seconds.map { ":\($0)" } ?? "")
  }
}

extension Damping {
  func told(at now: Timestamp) -> String {
    "its health has changed \(flips) times of late" + (until.map { "; until \($0.told(at: now))" } ?? "")
  }
}
