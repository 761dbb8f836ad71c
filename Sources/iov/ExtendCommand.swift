import ArgumentParser
import Services

extension ClaimCommand {
  struct Extend: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Have a claim's time to live begin anew.",
      discussion: """
        A claim that was made with --ttl is deleted by itself when that time is over, with what is on its disk. \
        One that was made without gets a time to live by this. All members of its group get the same.
        """)

    @Argument(help: "The claim's name.", completion: NameCompletion.claims) var name: String
    @Option(help: ArgumentHelp("How long it lives from now on, such as 90s, 10m, 2h, 1d.", valueName: "time"))
    var ttl: WholeSeconds?
    @Flag(help: "It does not end by itself any more.") var forever = false
    @OptionGroup var common: CommonOptions

    func validate() throws {
      guard (ttl == nil) == forever else {
        throw ValidationError("For how long? Give --ttl, or --forever.")
      }
    }

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let request = ExtendClaimRequest {
          $0.name = name
          $0.timeToLiveSeconds = ttl?.seconds ?? 0
        }
        show(try await coordinator.ask { try await coordinator.claims.extendClaim(request, options: .command) }, common)
      }
    }
  }
}

/// A time span of whole seconds, up to 136 years.
struct WholeSeconds: ExpressibleByArgument {
  let seconds: UInt32

  init?(argument: String) {
    guard let span = TimeSpan(argument: argument), span.milliseconds % 1000 == 0, span.milliseconds > 0,
      let seconds = UInt32(exactly: span.milliseconds / 1000)
    else { return nil }
    self.seconds = seconds
  }
}
