import ArgumentParser
import Services

/// What can be cordoned and drained: the same commands for end nodes and for hosts.
protocol MaintenanceKind: Sendable {
  /// As a sentence names it.
  static var word: String { get }
  /// The command group that it has.
  static var group: String { get }
  static var completion: CompletionKind { get }
  static func target(_ name: String) -> MaintenanceTarget
}

enum MaintainedHost: MaintenanceKind {
  static let word = "host"
  static let group = "host"
  static var completion: CompletionKind { NameCompletion.hosts }
  static func target(_ name: String) -> MaintenanceTarget { MaintenanceTarget { $0.kind = .host(name) } }
}

enum MaintainedEndNode: MaintenanceKind {
  static let word = "end node"
  static let group = "endnode"
  static var completion: CompletionKind { NameCompletion.endNodes }
  static func target(_ name: String) -> MaintenanceTarget { MaintenanceTarget { $0.kind = .endNode(name) } }
}

struct CordonCommand<Kind: MaintenanceKind>: AsyncParsableCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: "cordon",
      abstract: "Keep new functions away from \(Kind.word == "host" ? "a host" : "an end node"); what is in use stays.",
      discussion: Kind.word == "host"
        ? """
        No claim gets a function to use on the host, nor one of the end nodes that it controls. Of a disk that other hosts see, \
        too, those may have the whole, and control of it goes to one of them as soon as nothing of it is in use.
        """
        : "Claims that wait because of it say so. `iov endnode uncordon` ends it.")
  }

  @Argument(help: "Its name.", completion: Kind.completion) var name: String
  @Option(help: ArgumentHelp("Why, for people; claims that wait show it.", valueName: "text")) var reason: String = ""
  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await withCoordinator(common.connection) { coordinator in
      let request = CordonRequest {
        $0.target = Kind.target(name)
        $0.reason = reason
      }
      let answer = try await coordinator.ask {
        try await coordinator.operations.cordon(request, options: .command)
      }
      answer.show(common)
    }
  }
}

struct UncordonCommand<Kind: MaintenanceKind>: AsyncParsableCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: "uncordon",
      abstract: "Let new functions come again; a drain ends.",
      discussion: "What a drain has moved does not come back by itself.",
      aliases: ["undrain"])
  }

  @Argument(help: "Its name.", completion: Kind.completion) var name: String
  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await withCoordinator(common.connection) { coordinator in
      let request = UncordonRequest { $0.target = Kind.target(name) }
      let answer = try await coordinator.ask {
        try await coordinator.operations.uncordon(request, options: .command)
      }
      answer.show(common)
    }
  }
}

struct DrainCommand<Kind: MaintenanceKind>: AsyncParsableCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: "drain",
      abstract: "Cordon \(Kind.word == "host" ? "a host" : "an end node"), and have what is in use go elsewhere.",
      discussion: """
        A claim whose function fits elsewhere gets another one there, under a new token; how soon, its eviction policy says (iov \
        claim create --evict). What fits nowhere else stays until the deadline, and is taken away then: its claim is pending. \
        What is on a disk is not lost by this unless its claim, or --discard-data, says that it may be.

        Returns when the drain has begun; with --wait, when nothing is left that goes by itself. See `iov \(Kind.group) describe` \
        for what is left and why, and end it with `iov \(Kind.group) uncordon`. Again with other options: those hold from then on.

        Examples:
          iov \(Kind.group) drain NAME --deadline 10m --reason "firmware"
          iov \(Kind.group) drain NAME --evict --wait
        """)
  }

  @Argument(help: "Its name.", completion: Kind.completion) var name: String
  @Option(
    help: ArgumentHelp(
      "Take away what fits nowhere else after this time, such as 90s, 10m or 2h. Default: never.", valueName: "time"))
  var deadline: TimeSpan?
  @Option(help: ArgumentHelp("Why, for people; claims show it.", valueName: "text")) var reason: String = ""
  @Flag(help: "Do not wait for the deadline: take away at once what fits nowhere else.") var evict = false
  @Flag(help: "Also what holds data on a disk: it is lost.") var discardData = false
  @Flag(
    help: """
      Also what its claim says is never to be taken away; and drain a host that is the last one with a path to what is in use.
      """)
  var force = false
  @Flag(help: "Wait until nothing is left that goes by itself, with progress on standard error.") var wait = false
  @Option(
    help: ArgumentHelp(
      "With --wait: give up waiting after this many seconds; the drain goes on. Default: never.", valueName: "seconds"))
  var timeout: UInt32?
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard deadline == nil || !evict else {
      throw ValidationError("--evict does not wait for a deadline: give one of the two")
    }
    guard timeout == nil || wait else { throw ValidationError("--timeout is how long --wait waits: give both") }
  }

  func run() async throws {
    try await withCoordinator(common.connection) { coordinator in
      let request = DrainRequest {
        $0.target = Kind.target(name)
        $0.reason = reason
        $0.deadlineMilliseconds = deadline?.milliseconds
        $0.evict = evict
        $0.discardData = discardData
        $0.force = force
      }
      var answer = try await coordinator.ask { try await coordinator.operations.drain(request, options: .command) }
      if wait {
        answer = try await coordinator.follow(answer, until: timeout.map { .now + .seconds(Int64($0)) })
      }
      answer.show(common)
      if let timeout, answer.hasYetToGo {
        printToStandardError(
          "iov: \(answer.name) is not drained after \(timeout) s; the drain goes on: iov \(Kind.group) describe \(name)"
        )
        throw ExitCode.timedOut
      }
      guard wait, answer.cordon?.drain?.remaining.isEmpty == false else { return }
      printToStandardError("iov: what is left does not go by itself")
      throw ExitCode.refused
    }
  }
}

extension MaintenanceAnswer {
  /// Whether something is left that goes by itself.
  fileprivate var hasYetToGo: Bool { cordon?.drain?.remaining.contains { !$0.stays } ?? false }
}

extension Coordinator {
  /// Until nothing is left that goes by itself, or the drain was ended. Says each new state once.
  ///
  /// - Parameter end: when to give up; nil: never.
  fileprivate func follow(
    _ begun: MaintenanceAnswer, until end: ContinuousClock.Instant?
  ) async throws -> MaintenanceAnswer {
    var (answer, said) = (begun, "")
    while let drain = answer.cordon?.drain, answer.hasYetToGo, end.map({ .now < $0 }) ?? true {
      if drain.words != said { printToStandardError("\(answer.name): \(drain.words)") }
      said = drain.words
      try await Task.sleep(for: .milliseconds(500))
      answer = try await ask { try await again(answer) }
    }
    return answer
  }

  /// What is so by now of what an answer spoke of.
  func again(_ answer: MaintenanceAnswer) async throws -> MaintenanceAnswer {
    if let host = answer.host {
      let hosts = try await inventory.listHosts(ListHostsRequest(), options: .command).hosts
      return MaintenanceAnswer { $0.host = hosts.first { $0.name == host.name } }
    }
    let nodes = try await inventory.listEndNodes(ListEndNodesRequest(), options: .command).endNodes
    return MaintenanceAnswer { $0.endNode = nodes.first { $0.id == answer.endNode?.id } }
  }
}

extension ClaimCommand {
  struct Evict: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Take the function away from a claim, which stays and gets another one where it fits.",
      discussion: """
        It lets go as by a release, under its token. It may get another function of the same end node; to keep it away from there, \
        cordon that first. Returns when that is recorded; `iov claim wait NAME --for ready` waits for the next function.
        """)

    @Argument(help: "The claim's name.", completion: NameCompletion.claims) var name: String
    @Option(help: ArgumentHelp("Why, for people; the claim shows it.", valueName: "text")) var reason: String = ""
    @Flag(help: "Although it holds data on a disk: that is lost.") var discardData = false
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let claim = try await coordinator.claim(named: name)
        let request = EvictClaimRequest {
          $0.name = name
          $0.reason = reason
          $0.discardData = discardData
        }
        let evicted = try await coordinator.ask { isAgain in
          // After a call that broke in the middle it may have another function already, which is not to be taken away as well.
          if isAgain {
            let present = try await coordinator.claims.getClaim(GetClaimRequest { $0.name = name }, options: .command)
            guard present.status?.assignment?.token == claim.status?.assignment?.token else { return present }
          }
          return try await coordinator.operations.evictClaim(request, options: .command)
        }
        show(evicted, common)
      }
    }
  }
}

/// How a claim lets its function be taken away.
enum EvictionWord: String, ExpressibleByArgument, CaseIterable {
  case never, deadline, drain
  case anyTime = "any-time"

  var policy: EvictionPolicy {
    switch self {
    case .never: .never
    case .deadline: .deadline
    case .drain: .drain
    case .anyTime: .anyTime
    }
  }
}

extension EvictionPolicy {
  /// Empty: as claims are that say nothing.
  var words: String {
    switch self {
    case .never: "never"
    case .deadline: "at the deadline of a drain"
    case .drain: "by a drain, as soon as it fits elsewhere"
    case .anyTime: "by a drain, or to even out what end nodes have to do"
    case .unspecified, .unrecognized: ""
    }
  }
}

extension ClaimSpecification {
  /// Empty: as claims are that say nothing.
  var priorityWords: String {
    let waits = preemption == .never ? "nobody has to let go for it" : ""
    return [priority == 0 ? "" : String(priority), waits].filter { !$0.isEmpty }.joined(separator: ", ")
  }
}

/// `90s`, `10m`, `2h`, `1d`.
struct TimeSpan: ExpressibleByArgument {
  let milliseconds: UInt64

  init?(argument: String) {
    let units: [(String, UInt64)] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
    guard let unit = units.first(where: { argument.hasSuffix($0.0) }),
      let number = UInt64(argument.dropLast(unit.0.count)), argument.first != "+"
    else { return nil }
    let (product, isTooMuch) = number.multipliedReportingOverflow(by: unit.1)
    guard !isTooMuch else { return nil }
    milliseconds = product
  }
}
