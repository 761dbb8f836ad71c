import ArgumentParser
import Services

extension FunctionCommand {
  struct Stats: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What functions have carried: bytes, packets or requests, drops, errors.",
      discussion: """
        The hosts of their consumers are asked now; nothing is remembered of it. Counters begin with a function's interface or \
        device, and so anew with the next boot or holder. What came to the consumer, or was read by it, is IN.

          iov function stats
          iov function stats web            # a claim's name, or a function's id
          watch -n 1 iov function stats web
        """)

    @Argument(
      help: "The function's id, or the name of the claim that holds it; without it, all.",
      completion: NameCompletion.functionsAndClaims)
    var name: String?
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        guard let name else {
          let answer = try await coordinator.statistics(of: "")
          return common.output.show(answer) {
            printTable([FunctionReading.heading] + answer.functions.map(\.row))
          }
        }
        let answer = try await coordinator.statistics(of: coordinator.function(named: name))
        for reading in answer.functions where reading.statistics == nil {
          throw RPCError(.failedPrecondition, "no counters of \(reading.function): \(reading.problem)")
        }
        common.output.show(answer) {
          for reading in answer.functions { reading.described.printed() }
        }
      }
    }
  }
}

extension Coordinator {
  fileprivate func statistics(of function: String) async throws -> GetStatisticsResponse {
    try await ask {
      // Hosts have ten seconds to answer in.
      try await inventory.getStatistics(
        GetStatisticsRequest { $0.function = function }, options: CallOptions(timeout: .seconds(15)))
    }
  }
}

extension Coordinator {
  /// The id of what is meant by a function's id or a claim's name.
  fileprivate func function(named name: String) async throws -> String {
    let byID = try await functions(ListFunctionsRequest { $0.prefix = name }).functions.compactMap(\.assignment)
    if let found = byID.first(where: { $0.function == name }) { return found.function }
    let byClaim = try await functions(ListFunctionsRequest { $0.claim = name }).functions.compactMap(\.assignment)
    if let found = byClaim.first { return found.function }
    do {
      _ = try await claim(named: name)
    } catch let error as RPCError where error.code == .notFound {
      let all = try await functions(beside: name)
      throw RPCError(
        .notFound,
        "no function or claim '\(name)'"
          + suggestion(for: name, among: all.map(\.claim) + all.map(\.function), of: "function"))
    }
    throw RPCError(.failedPrecondition, "claim '\(name)' has no function yet: iov claim describe \(name)")
  }
}

extension FunctionReading {
  fileprivate static let heading = [
    "CLAIM", "HOST", "BYTES IN", "BYTES OUT", "COUNT IN", "COUNT OUT", "DROPS IN", "DROPS OUT", "ERRORS", "PROBLEM",
  ]

  fileprivate var row: [String] {
    let counters = statistics.map { statistics in
      [
        statistics.receivedBytes, statistics.transmittedBytes, statistics.receivedOperations,
        statistics.transmittedOperations, statistics.receivedDrops, statistics.transmittedDrops, statistics.errors,
      ].map { String($0) }
    }
    return [claim, host] + (counters ?? Array(repeating: "-", count: 7)) + [problem]
  }

  fileprivate var described: Description {
    let counted = statistics ?? FunctionStatistics()
    let isNetwork = deviceClass == "ethernet"
    let things = isNetwork ? "packets" : "requests"
    var text = Description()
    text.facts([
      ("Function", function), ("Claim", claim), ("Host", host),
      (isNetwork ? "Received" : "Read", "\(counted.receivedBytes) bytes, \(counted.receivedOperations) \(things)"),
      (
        isNetwork ? "Transmitted" : "Written",
        "\(counted.transmittedBytes) bytes, \(counted.transmittedOperations) \(things)"
      ),
      ("Dropped", isNetwork ? "\(counted.receivedDrops) received, \(counted.transmittedDrops) transmitted" : nil),
      ("Errors", String(counted.errors)),
    ])
    return text
  }
}
