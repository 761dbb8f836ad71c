import ArgumentParser
import Services

extension EndNodeCommand {
  struct SetFunctions: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Set how many functions of its own a device makes (SR-IOV).",
      discussion: """
        In the place of what its plugin's configuration says (virtualFunctions), until --as-configured. A device makes all of them \
        anew, so this is refused while one is in use: have them go first. Nobody gets one until the device has made them; what is \
        made by software stays.

        Returns when it is recorded and the device's host is told; with --wait, when the device has made them: ends with 1 if it made \
        fewer, and with 4 if it took longer than --timeout.

        Example:
          iov endnode drain host-a/eth0 --wait
          iov endnode set-functions host-a/eth0 16 --wait
          iov endnode uncordon host-a/eth0
        """)

    @Argument(help: "Its name.", completion: NameCompletion.endNodes) var name: String
    @Argument(help: "How many.") var count: UInt32?
    @Flag(help: "As many as its plugin's configuration says.") var asConfigured = false
    @Flag(help: "Wait until the device has made them.") var wait = false
    @Option(
      help: ArgumentHelp(
        "With --wait: give up waiting after this many seconds; the number stays wanted. Default: never.",
        valueName: "seconds"))
    var timeout: UInt32?
    @OptionGroup var common: CommonOptions

    func validate() throws {
      guard (count == nil) == asConfigured else {
        throw ValidationError("say how many, or --as-configured: one of the two")
      }
      guard timeout == nil || wait else { throw ValidationError("--timeout is how long --wait waits: give both") }
    }

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let request = SetFunctionCountRequest {
          $0.endNode = name
          $0.count = count
        }
        var answer = try await coordinator.ask {
          try await coordinator.operations.setFunctionCount(request, options: .command)
        }
        let end = timeout.map { ContinuousClock.now + .seconds(Int64($0)) }
        var said = ""
        while wait, let node = answer.endNode, node.isMakingFunctions, end.map({ .now < $0 }) ?? true {
          if node.functionCountWords != said { printToStandardError(node.functionCountWords) }
          said = node.functionCountWords
          try await Task.sleep(for: .milliseconds(500))
          answer = try await coordinator.ask { try await coordinator.again(answer) }
        }
        common.output.show(answer) { print(answer.endNode?.functionCountWords ?? "end node \(name) is gone") }
        guard wait else { return }
        if answer.endNode?.isMakingFunctions ?? false {
          printToStandardError("iov: \(name) has not made them after \(timeout ?? 0) s; they stay wanted")
          throw ExitCode.timedOut
        }
        let made = answer.endNode?.physicalFunction?.functionCount
        guard let made, made.wanted ?? made.present == made.present else {
          printToStandardError("iov: \(name) has not made as many as are wanted")
          throw ExitCode.refused
        }
      }
    }
  }
}

extension EndNode {
  /// `end node host-a/eth0 is to make 16 functions of its own, and has 8`
  fileprivate var functionCountWords: String {
    guard let made = physicalFunction?.functionCount else { return "end node \(name) makes no functions of its own" }
    let wanted =
      wantedFunctions.map { "is to make \($0) functions of its own" }
      ?? "is to make as many functions of its own as its plugin's configuration says"
    // Of the number before, while its host has not heard of this one.
    let isHeard = made.ordered == wantedFunctions
    let why = !isHeard ? "" : !made.message.isEmpty ? ": \(made.message)" : !made.held.isEmpty ? ": some are held" : ""
    return "end node \(name) \(wanted), and has \(made.present)\(why)"
  }
}
