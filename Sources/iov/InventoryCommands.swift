import ArgumentParser
import Quantities
import Selectors
import Services

struct HostCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "host", abstract: "The machines of the rack.",
    subcommands: [
      List.self, Describe.self, Fields.self, CordonCommand<MaintainedHost>.self, UncordonCommand<MaintainedHost>.self,
      DrainCommand<MaintainedHost>.self, TaintCommand<MaintainedHost>.self, ConfirmDead.self, Fence.self, Rescan.self,
      Forget.self,
    ])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the hosts that have joined, and their plugins.")

    @Option(
      name: .customLong("select"),
      help: ArgumentHelp("Only those of which this is so; see `iov host fields`.", valueName: "condition"),
      transform: Selector<Host>.argument)
    var selector: Selector<Host>?
    @OptionGroup var common: ListOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        var answer = try await coordinator.ask {
          try await coordinator.inventory.listHosts(ListHostsRequest(), options: .command)
        }
        if let selector { answer.hosts.removeAll { !selector.matches($0) } }
        common.output.show(
          answer, names: answer.hosts.map(\.name),
          table: [["NAME", "STATE", "MEDIATION ADDRESS", "PLUGINS", "AGENT"]]
            + answer.hosts.map { host in
              [
                host.name, host.stateWord, orDash(host.mediationAddress),
                orDash(host.plugins.map(\.summary).joined(separator: ", ")), host.agentVersion,
              ]
            })
      }
    }
  }
}

struct EndNodeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "endnode", abstract: "The devices that can be shared.",
    subcommands: [
      List.self, Describe.self, Fields.self, CordonCommand<MaintainedEndNode>.self,
      UncordonCommand<MaintainedEndNode>.self, DrainCommand<MaintainedEndNode>.self,
      TaintCommand<MaintainedEndNode>.self, SetFunctions.self,
    ])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the end nodes: where they are and what is in use.",
      discussion: "With --select those that a claim with this selector could get: iov endnode fields.")

    @Option(
      name: .customLong("select"),
      help: ArgumentHelp("Only those of which this is so, as in `iov claim create`.", valueName: "condition"),
      transform: Selector<EndNode>.argument)
    var selector: Selector<EndNode>?
    @OptionGroup var common: ListOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        var answer = try await coordinator.ask {
          try await coordinator.inventory.listEndNodes(ListEndNodesRequest(), options: .command)
        }
        if let selector { answer.endNodes.removeAll { !selector.matches($0) } }
        common.output.show(
          answer, names: answer.endNodes.map(\.name),
          table: [["NAME", "CLASS", "HEALTH", "FUNCTIONS", "SIZE", "LABELS", "ID"]]
            + answer.endNodes.map { node in
              [
                node.name, node.deviceClass, node.healthWord, node.functionsInUse, node.sizeInUse,
                orDash(node.labels.labelText),
                node.id,
              ]
            })
      }
    }
  }
}

struct FunctionCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "function", abstract: "The virtual functions that are granted.",
    subcommands: [List.self, Describe.self, Stats.self])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the functions in use: who holds each, where, by which path, under which token.",
      discussion: "All, or those of which all is so that is said.")

    @Option(help: "That are used on this host, or come from it.", completion: NameCompletion.hosts) var host: String?
    @Option(help: "Of this end node: its name or id.", completion: NameCompletion.endNodes) var endnode: String?
    @OptionGroup var common: ListOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let node = endnode == nil ? nil : try await coordinator.endNode(named: endnode ?? "")
        let request = ListFunctionsRequest {
          $0.host = host ?? ""
          $0.endNode = node?.id ?? ""
        }
        let answer = try await coordinator.functions(request, endNode: node)
        common.output.show(
          answer, names: answer.functions.compactMap { $0.assignment?.function },
          table: [AssignedFunction.heading] + answer.functions.map(\.row))
      }
    }
  }
}

extension HostState {
  var word: String {
    switch self {
    case .connected: "connected"
    case .disconnected: "disconnected"
    case .dead: "dead"
    case .unspecified, .unrecognized: "-"
    }
  }
}

extension Plugin {
  /// `ethernet`, or `ethernet (failed: why)`.
  var summary: String {
    switch state {
    case .serving: name
    case .starting: "\(name) (starting)"
    case .failed: "\(name) (failed: \(message))"
    case .unspecified, .unrecognized: "\(name) (state unknown)"
    }
  }
}

extension Health {
  var word: String {
    switch state {
    case .healthy: "healthy"
    case .unhealthy: message.isEmpty ? "unhealthy" : "unhealthy: \(message)"
    case .unknown, .unspecified, .unrecognized: "unknown"
    }
  }

  /// With what is told of a healthy one, too.
  var words: String { state == .unhealthy || message.isEmpty ? word : "\(word): \(message)" }
}

extension Host {
  /// With what an operator has said of it.
  var stateWord: String { state.word + (cordon.map { ", \($0.word)" } ?? "") }
}

extension EndNode {
  /// With what an operator has said of it.
  var healthWord: String {
    (health?.word ?? "-") + (cordon.map { ", \($0.word)" } ?? "") + (damping == nil ? "" : ", left alone")
  }

  /// Nil: an older coordinator does not count them.
  var hostsInUse: String? {
    let (used, total) = (used?.hosts ?? 0, capacity?.hosts ?? 0)
    guard used > 0 || total > 0 else { return nil }
    return total == 0 ? "\(used)" : "\(used)/\(total)"
  }

  var functionsInUse: String {
    let total = capacity?.functions ?? 0
    return total == 0 ? "\(used?.functions ?? 0)" : "\(used?.functions ?? 0)/\(total)"
  }

  var sizeInUse: String {
    guard let total = capacity?.sizeBytes, total > 0 else { return "-" }
    return "\(formatByteCount(used?.sizeBytes ?? 0))/\(formatByteCount(total))"
  }
}

extension FunctionPhase {
  var word: String {
    switch self {
    case .absent: "absent"
    case .created: "created"
    case .inUse: "in use"
    case .scrubbing: "scrubbing"
    case .unspecified, .unrecognized: "-"
    }
  }
}
