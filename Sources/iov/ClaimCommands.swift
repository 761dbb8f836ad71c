import ArgumentParser
import Services

struct ClaimCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "claim", abstract: "Ask for functions, see what was granted, release them.",
    subcommands: [Create.self, Get.self, List.self, Update.self, Delete.self, Watch.self])

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show one claim: what it got, or what it waits for.")

    @Argument(help: "The claim's name.") var name: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common) { channel in
        let claim = try await ClaimsClient(channel).getClaim(GetClaimRequest { $0.name = name }, options: .command)
        show(claim, common)
      }
    }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List all claims.")

    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common) { channel in
        let answer = try await ClaimsClient(channel).listClaims(ListClaimsRequest(), options: .command)
        guard common.output == .table else { return printJSON(answer) }
        printTable([Claim.tableHeading] + answer.claims.map(\.tableRow))
      }
    }
  }

  struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change a claim's rates while it is in use.",
      discussion: "A rate that is not named stays as it is; 0 removes the limit.")

    @Argument(help: "The claim's name.") var name: String
    @OptionGroup var rates: RateOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
      guard rates.maxTransmit != nil || rates.maxReceive != nil else {
        throw ValidationError("Nothing to change: name --max-transmit, --max-receive or both.")
      }
    }

    func run() async throws {
      try await withCoordinator(common) { channel in
        let request = UpdateClaimRatesRequest {
          $0.name = name
          $0.maxTransmitBitsPerSecond = rates.maxTransmit?.bitsPerSecond
          $0.maxReceiveBitsPerSecond = rates.maxReceive?.bitsPerSecond
        }
        show(try await ClaimsClient(channel).updateClaimRates(request, options: .command), common)
      }
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Release a claim's function and forget the claim.",
      discussion: "Returns when the release is recorded; with --wait, when every host has let go.")

    @Argument(help: "The claim's name.") var name: String
    @OptionGroup var waiting: WaitOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common) { channel in
        let client = ClaimsClient(channel)
        let claim = try await client.deleteClaim(DeleteClaimRequest { $0.name = name }, options: .command)
        guard waiting.wait else { return show(claim, common) }
        let last = try await waiting.claim(named: name, uid: claim.uid, from: client, until: .gone)
        if common.output == .json { printJSON(last ?? claim) } else { print("claim \(name) is released") }
      }
    }
  }

  struct Watch: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print claims as they are and as they change, until interrupted.",
      discussion: "With -o json one event a line.")

    @Argument(help: "Only this claim.") var name: String?
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common) { channel in
        let events = try await ClaimsClient(channel).watchClaims(WatchClaimsRequest { $0.name = name ?? "" })
        for try await event in events {
          if common.output == .json {
            printJSON(event, onOneLine: true)
          } else if let claim = event.claim {
            let gone = event.kind == .gone ? "gone" : claim.status?.phase.word ?? "-"
            let why = claim.status?.error?.summary ?? claim.status?.pending.first?.message ?? claim.arrivedAs ?? ""
            print("\(event.revision)\t\(claim.name)\t\(gone)\t\(why)")
          }
        }
      }
    }
  }
}

/// Prints one claim in the form asked for.
func show(_ claim: Claim, _ options: CommonOptions) {
  if options.output == .json { printJSON(claim) } else { printTable(claim.details) }
}

struct RateOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Highest rate from the consumer to the network, such as 500mbit or 1gbit.", valueName: "rate"))
  var maxTransmit: BitRate?

  @Option(help: ArgumentHelp("Highest rate from the network to the consumer.", valueName: "rate"))
  var maxReceive: BitRate?
}
