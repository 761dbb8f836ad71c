import ArgumentParser
import Services

struct OrphanCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "orphan", abstract: "Functions that hosts have and no claim stands behind.",
    discussion: """
      They are left over after a restored backup or a lost store, and are never touched by themselves: somebody may be \
      using them. Make a claim of one (adopt), or have it torn down (purge).
      """,
    subcommands: [List.self, Adopt.self, Purge.self])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the orphans: what they are, where, set up for whom.")

    @OptionGroup var common: ListOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let answer = try await coordinator.orphans()
        let names = answer.orphans.map(\.functionID)
        common.output.show(
          answer, names: names.indices.filter { $0 == 0 || names[$0] != names[$0 - 1] }.map { names[$0] },
          table: [Orphan.heading] + answer.orphans.map(\.row))
      }
    }
  }

  struct Adopt: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a claim of an orphan as it is, while it is in use.",
      discussion: "Both ends of a mediated function are taken.")

    @Argument(help: "The function's id, as in `iov orphan list`.", completion: NameCompletion.orphans)
    var function: String
    @Option(help: ArgumentHelp("The claim's name; default: the one that it was set up for.", valueName: "name"))
    var claim: String?
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let request = AdoptOrphanRequest {
          $0.function = function
          $0.claim = claim ?? ""
        }
        show(
          try await coordinator.ask { isAgain in
            do {
              return try await coordinator.operations.adoptOrphan(request, options: .command)
            } catch let error as RPCError where error.code == .notFound || error.code == .failedPrecondition {
              // An earlier call whose answer was lost may have made it a claim: then it is no orphan any more.
              if isAgain, let adopted = try await coordinator.claim(holding: function, named: claim) { return adopted }
              guard error.code == .notFound else { throw error }
              throw try await coordinator.noOrphan(function)
            }
          }, common)
      }
    }
  }

  struct Purge: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Have the hosts that have an orphan tear it down, under its token.",
      discussion: """
        Whoever uses it loses it, and what is on it. Shows what would be torn down and asks for the function's id as \
        confirmation; scripts give --yes.
        """)

    @Argument(help: "The function's id, as in `iov orphan list`.", completion: NameCompletion.orphans)
    var function: String
    @Option(
      help: ArgumentHelp("Only this host's part of it.", valueName: "name"), completion: NameCompletion.hosts)
    var host: String?
    @OptionGroup var confirmation: ConfirmationOptions
    @OptionGroup var common: ListOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let parts = try await coordinator.orphans().orphans.filter { orphan in
          orphan.functionID == function && (host == nil || orphan.host == host)
        }
        guard !parts.isEmpty else { throw try await coordinator.noOrphan(function) }
        try confirmation.confirm(
          typing: function, ["These are torn down:", ""] + table([Orphan.heading] + parts.map(\.row)))
        let request = PurgeOrphanRequest {
          $0.function = function
          $0.host = host ?? ""
        }
        let answer = try await coordinator.ask { isAgain in
          do {
            return try await coordinator.operations.purgeOrphan(request, options: .command)
          } catch let error as RPCError where isAgain && error.code == .notFound {
            return ListOrphansResponse()
          }
        }
        common.output.show(
          answer, names: answer.orphans.isEmpty ? [] : [function],
          table: [Orphan.heading] + answer.orphans.map(\.row))
      }
    }
  }
}

extension Coordinator {
  fileprivate func orphans() async throws -> ListOrphansResponse {
    try await ask { try await operations.listOrphans(ListOrphansRequest(), options: .command) }
  }

  fileprivate func noOrphan(_ function: String) async throws -> RPCError {
    let known = Set(try await orphans().orphans.map(\.functionID)).sorted()
    return RPCError(.notFound, "no orphan '\(function)'" + suggestion(for: function, among: known, of: "orphan"))
  }

  /// - Parameter name: nil for whichever it is.
  fileprivate func claim(holding function: String, named name: String?) async throws -> Claim? {
    let holding = try await functions(ListFunctionsRequest { $0.prefix = function }).functions
      .compactMap(\.assignment).first { $0.function == function && (name == nil || $0.claim == name) }
    guard let holding else { return nil }
    return try await claim(named: holding.claim)
  }
}
