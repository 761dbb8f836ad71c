import ArgumentParser
import Services

struct AuditCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit",
    abstract: "Who held what, from when to when, and why: the newest first.",
    discussion: """
      One line for each token under which a claim has had a function: on which host and path, when it was granted, when it was first in \
      use, and when it was proven that nobody can use it any more. Kept in the coordinator's store (`audit` in its configuration \
      says for how long), and in its backups.

      Times are given as 2026-11-26T22:00:00Z, or as how long ago: 90s, 15min, 2h, 7d.
      """)

  @Option(help: "Only of this claim, also of one that is gone.", completion: NameCompletion.claims) var claim: String?
  @Option(help: "Only of claims of this tenant.", completion: NameCompletion.tenants) var tenant: String?
  @Option(help: "Only of this function.", completion: NameCompletion.functions) var function: String?
  @Option(
    name: .customLong("endnode"), help: "Only of this end node, by name or id.", completion: NameCompletion.endNodes)
  var endNode: String?
  @Option(help: "Only what was used on this host, or controlled by it.", completion: NameCompletion.hosts)
  var host: String?
  @Option(help: ArgumentHelp("Only what was held at this time or later.", valueName: "time")) var since: PointInTime?
  @Option(help: ArgumentHelp("Only what was held before this time.", valueName: "time")) var until: PointInTime?
  @Option(help: ArgumentHelp("At most so many.", valueName: "number")) var limit: UInt32 = 100
  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await withCoordinator(common.connection) { coordinator in
      var request = ListHoldingsRequest {
        $0.claim = claim ?? ""
        $0.tenant = tenant ?? ""
        $0.function = function ?? ""
        $0.endNode = endNode ?? ""
        $0.host = host ?? ""
        $0.from = since?.timestamp
        $0.to = until?.timestamp
      }
      var found = ListHoldingsResponse()
      repeat {
        request.pageSize = min(limit - UInt32(found.holdings.count), 1000)
        guard request.pageSize > 0 else { break }
        let page = try await coordinator.ask {
          try await coordinator.claims.listHoldings(request, options: .command)
        }
        found.holdings += page.holdings
        found.nextPageToken = page.nextPageToken
        request.pageToken = page.nextPageToken
      } while !request.pageToken.isEmpty
      common.output.show(found) {
        printTable([Holding.tableHeading] + found.holdings.map(\.tableRow))
        if !found.nextPageToken.isEmpty { printToStandardError("iov: there are older ones; see more with --limit") }
      }
    }
  }
}

extension Holding {
  fileprivate static let tableHeading = [
    "CLAIM", "TENANT", "FUNCTION", "TOKEN", "HOST", "PATH", "GRANTED", "IN USE", "ENDED", "WHY",
  ]

  fileprivate var tableRow: [String] {
    [
      claim, tenant.isEmpty ? "-" : tenant, function, String(token?.value ?? 0), host, path.word, time(granted),
      time(inUse), time(ended), why,
    ]
  }

  private func time(_ time: Timestamp?) -> String { time.map { "\(Timestamp(seconds: $0.seconds))" } ?? "-" }

  private var why: String {
    let given = whyGranted.isEmpty ? decision?.words ?? "" : whyGranted
    return [given, whyEnded.isEmpty ? "" : "ended: \(whyEnded)"].filter { !$0.isEmpty }.joined(separator: "; ")
  }
}

extension PlacementDecision {
  fileprivate var words: String { "choice \(preference) of its paths, with \(functionsInUse) functions in use there" }
}

/// A time, or how long ago it is.
struct PointInTime: ExpressibleByArgument {
  let timestamp: Timestamp

  init?(argument: String) { self.init(argument, now: .now()) }

  init?(_ text: String, now: Timestamp) {
    if let timestamp = Timestamp(text) {
      self.timestamp = timestamp
      return
    }
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let units: [Substring: Int64] = ["s": 1, "min": 60, "h": 3600, "d": 86_400]
    guard let number = Int64(digits), let unit = units[text.dropFirst(digits.count)] else { return nil }
    let (age, isHuge) = number.multipliedReportingOverflow(by: unit)
    guard !isHuge, age <= now.seconds else { return nil }
    timestamp = Timestamp(seconds: now.seconds - age)
  }
}
