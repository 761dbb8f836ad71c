import ArgumentParser
import Services

struct RebalanceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rebalance",
    abstract: "Even out how many functions the end nodes of a class have in use.",
    discussion: """
      Moves as few claims as will do, one after the other, and only those that were made with --evict any-time: each lets go of its \
      function and gets another one. --plan shows the moves and makes none. A move whose claim is not ready after two minutes \
      is the last one; a coordinator that restarts makes no more, either.
      """)

  @Option(
    name: .customLong("class"), help: ArgumentHelp("Device class: ethernet, sas, sata, nvme.", valueName: "class"))
  var deviceClass: String
  @Flag(help: "Show the moves, and make none.") var plan = false
  @Flag(help: "Begin no more moves.") var stop = false
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard !plan || !stop else { throw ValidationError("--plan changes nothing, and --stop does: give one of the two") }
  }

  func run() async throws {
    try await withCoordinator(common.connection) { coordinator in
      let request = RebalanceRequest {
        $0.deviceClass = deviceClass
        $0.planOnly = plan
        $0.stop = stop
      }
      let answer = try await coordinator.ask {
        try await coordinator.operations.rebalance(request, options: .command)
      }
      common.output.show(answer) { answer.description(isStopped: stop).printed() }
    }
  }
}

extension RebalanceAnswer {
  fileprivate func description(isStopped: Bool) -> Description {
    var text = Description()
    let names = Dictionary(loads.map { ($0.endNode, $0.name) }, uniquingKeysWith: { first, _ in first })
    text.facts([
      ("Moves", isStopped ? "no more begin" : moves.isEmpty ? "none would even it out" : "\(moves.count)"),
      ("Under way", running ? "yes, one after the other" : "no"),
      (
        "Cannot be moved",
        fixed == 0 ? nil : "\(fixed) functions: their claims do not allow it (--evict any-time), or fit nowhere else"
      ),
    ])
    text.section(
      "Moves", ["CLAIM", "FROM", "TO"],
      moves.map { [$0.claim, names[$0.fromEndNode] ?? $0.fromEndNode, names[$0.toEndNode] ?? $0.toEndNode] })
    text.section(
      "In use", ["END NODE", "NOW", "AFTER THAT"],
      loads.map { [$0.name, String($0.functions), String($0.functionsAfter)] })
    return text
  }
}
