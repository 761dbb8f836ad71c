import ArgumentParser
import Quantities
import Services

struct ClaimCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "claim", abstract: "Ask for functions, see what was granted, release them.",
    subcommands: [
      Create.self, Apply.self, Plan.self, Get.self, Describe.self, Explain.self, List.self, Update.self, Extend.self,
      Delete.self,
      Evict.self, Wait.self, Watch.self,
      Libvirt.self,
    ])

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show one claim: what it got, or what it waits for.")

    @Argument(help: "The claim's name.", completion: NameCompletion.claims) var name: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        show(try await coordinator.claim(named: name), common)
      }
    }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List claims: all, or those of which all is so that is said.")

    @Option(help: "Of this tenant.", completion: NameCompletion.tenants) var tenant: String?
    @Option(
      help: "That ask for this host, or have a function that is used on it or comes from it.",
      completion: NameCompletion.hosts)
    var host: String?
    @Option(
      help: "That ask for this end node, or have a function of it: its name or id.",
      completion: NameCompletion.endNodes)
    var endnode: String?
    @Option(help: "Of this group.") var group: String?
    @Flag(help: "That are not ready.") var unready = false
    @Flag(help: "Of which the function is unhealthy.") var unhealthy = false
    @OptionGroup var common: ListOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let node = endnode == nil ? nil : try await coordinator.endNode(named: endnode ?? "")
        let request = ListClaimsRequest {
          $0.tenant = tenant ?? ""
          $0.host = host ?? ""
          $0.endNode = node?.id ?? ""
          $0.group = group ?? ""
          $0.unready = unready
          $0.unhealthy = unhealthy
        }
        let answer = try await coordinator.claims(request, endNode: node)
        common.output.show(
          answer, names: answer.claims.map(\.name), table: [Claim.tableHeading] + answer.claims.map(\.tableRow))
      }
    }
  }

  struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change a claim's rates while it is in use.",
      discussion: "A rate that is not named stays as it is; 0 removes the limit.")

    @Argument(help: "The claim's name.", completion: NameCompletion.claims) var name: String
    @OptionGroup var rates: RateOptions
    @OptionGroup var limits: BlockLimitOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
      guard rates.maxTransmit != nil || rates.maxReceive != nil || !limits.isEmpty else {
        throw ValidationError(
          "Nothing to change: name --max-transmit or --max-receive, or of a disk's function --max-read-iops and the like."
        )
      }
    }

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let request = UpdateClaimRatesRequest {
          $0.name = name
          $0.maxTransmitBitsPerSecond = rates.maxTransmit?.bitsPerSecond
          $0.maxReceiveBitsPerSecond = rates.maxReceive?.bitsPerSecond
          $0.maxReadOperationsPerSecond = limits.maxReadIops
          $0.maxWriteOperationsPerSecond = limits.maxWriteIops
          $0.maxReadBytesPerSecond = limits.maxReadBytes?.bytesPerSecond
          $0.maxWriteBytesPerSecond = limits.maxWriteBytes?.bytesPerSecond
          $0.burstFactor = limits.burstFactor
          $0.burstSeconds = limits.burstSeconds
        }
        let claim = try await coordinator.ask {
          try await coordinator.claims.updateClaimRates(request, options: .command)
        }
        show(claim, common)
      }
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Release a claim's function and forget the claim.",
      discussion: """
        Returns when the release is recorded; with --wait, when every host has let go.

        A claim that is the source of others is not deleted under them: delete those first, or all of them with --cascade. \
        They let go before it does. The members of a group are deleted together, with --whole-group.
        """)

    @Argument(help: "The claim's name.", completion: NameCompletion.claims) var name: String
    @Flag(help: "Also the claims that have it as their source, and theirs: their data goes, too.") var cascade = false
    @Flag(help: "Also the other claims of its group: their data goes, too.") var wholeGroup = false
    @OptionGroup var waiting: WaitOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let present = try await coordinator.claim(named: name)
        let mates = wholeGroup && waiting.wait ? try await coordinator.mates(of: present) : []
        let claim = try await coordinator.delete(present, cascade: cascade, wholeGroup: wholeGroup)
        guard waiting.wait else { return show(claim, common) }
        let last = try await coordinator.claim(named: name, uid: claim.uid, reaches: .gone, within: waiting.limit)
        for mate in mates {
          _ = try await coordinator.claim(named: mate.name, uid: mate.uid, reaches: .gone, within: waiting.limit)
        }
        common.output.show(last ?? claim) {
          for name in ([name] + mates.map(\.name)).sorted() { print("claim \(name) is released") }
        }
      }
    }
  }

  struct Wait: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Wait until a claim is ready or gone, with progress on standard error.",
      discussion: "A claim that is gone already is gone. Goes on over a restart of the coordinator.")

    @Argument(help: "The claim's name.", completion: NameCompletion.claims) var name: String
    @Option(name: .customLong("for"), help: "What to wait for.") var goal: WaitGoal
    @OptionGroup var limit: WaitLimit
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        do {
          let claim = try await coordinator.claim(named: name)
          let last = try await coordinator.claim(named: name, uid: claim.uid, reaches: goal, within: limit) ?? claim
          guard goal == .ready else { return print("claim \(name) is gone") }
          show(last, common)
        } catch let error as RPCError where error.code == .notFound && goal == .gone {
          print("claim \(name) is gone")
        }
      }
    }
  }

  struct Watch: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print claims as they are and as they change, until interrupted.",
      discussion: """
        With -o json one event a line, with -o yaml one a document. Goes on over a restart of the coordinator: what \
        changed meanwhile follows, and nothing is told twice.

        Whoever has seen events before goes on behind the last one with its revision and epoch, which stand in each event of -o json. \
        What is too long ago is not kept, nor what was before a restart of the coordinator: such a watch ends then, and one watches \
        anew, which begins with a list.
        """)

    @Argument(help: "Only this claim.", completion: NameCompletion.claims) var name: String?
    @Option(help: ArgumentHelp("Tell what came after this revision.", valueName: "number")) var fromRevision: UInt64?
    @Option(help: ArgumentHelp("The epoch of that revision.", valueName: "number")) var epoch: UInt64?
    @OptionGroup var common: CommonOptions

    func validate() throws {
      guard (fromRevision == nil) == (epoch == nil) else {
        throw ValidationError(
          "--from-revision and --epoch go together: revisions of different epochs do not compare. Both stand in each event of -o json."
        )
      }
      guard fromRevision != 0, epoch != 0 else {
        throw ValidationError("revisions and epochs begin with 1; without either the watch begins with what there is")
      }
    }

    func run() async throws {
      let place = fromRevision.flatMap { revision in epoch.map { (revision: revision, epoch: $0) } }
      try await withCoordinator(common.connection) { coordinator in
        try await coordinator.followClaims(named: name ?? "", after: place) { event in
          show(event)
          return true
        }
      }
    }

    private func show(_ event: ClaimEvent) {
      switch common.output {
      case .json: printJSON(event, onOneLine: true)
      case .yaml:
        print("---")
        printYAML(event)
      case .table: if let line = event.line { print(line) }
      }
      flushOutput()
    }
  }
}

extension ClaimEvent {
  /// Nil: there is no claim in it.
  fileprivate var line: String? {
    guard let claim else { return nil }
    let gone = kind == .gone ? "gone" : claim.phaseWord
    let health = claim.status?.health.flatMap { $0.state == .unhealthy ? $0.words : nil }
    let why =
      claim.status?.error?.summary ?? claim.status?.pending.first?.message ?? health ?? claim.arrivedAs ?? ""
    return "\(revision)\t\(claim.name)\t\(gone)\t\(why)"
  }
}

extension Coordinator {
  /// Where there is none the coordinator names those that are near.
  func claim(named name: String) async throws -> Claim {
    try await ask { try await claims.getClaim(GetClaimRequest { $0.name = name }, options: .command) }
  }

  /// The other members of its group.
  func mates(of claim: Claim) async throws -> [Claim] {
    guard let group = claim.specification?.group, !group.isEmpty else { return [] }
    return try await members(of: group).filter { $0.name != claim.name }
  }

  func members(of group: String) async throws -> [Claim] {
    try await claims(ListClaimsRequest { $0.group = group }).claims
  }

  /// Releases this claim. After a call that broke in the middle it may be gone, and another one may have its name.
  func delete(_ claim: Claim, cascade: Bool = false, wholeGroup: Bool = false) async throws -> Claim {
    let request = DeleteClaimRequest {
      $0.name = claim.name
      $0.cascade = cascade
      $0.wholeGroup = wholeGroup
    }
    return try await ask { isAgain in
      do {
        if isAgain {
          let present = try await claims.getClaim(GetClaimRequest { $0.name = claim.name }, options: .command)
          guard present.uid == claim.uid else { return claim }
        }
        return try await claims.deleteClaim(request, options: .command)
      } catch let error as RPCError where isAgain && error.code == .notFound {
        return claim
      }
    }
  }
}

/// Prints one claim in the form asked for.
func show(_ claim: Claim, _ options: CommonOptions) {
  options.output.show(claim) { printTable(claim.details) }
}

struct RateOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Highest rate from the consumer to the network, such as 500mbit or 1gbit.", valueName: "rate"))
  var maxTransmit: BitRate?

  @Option(help: ArgumentHelp("Highest rate from the network to the consumer.", valueName: "rate"))
  var maxReceive: BitRate?
}
