import ArgumentParser
import Services

extension HostCommand {
  struct Describe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "All that is known of one host: state, lease, plugins, what it holds, what waits for it.")

    @Argument(help: "The host's name.", completion: NameCompletion.hosts) var name: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let rack = try await coordinator.surroundings(of: name)
        let host = try rack.knownHost(name)
        common.output.show(host) { rack.describe(host).printed() }
      }
    }
  }
}

extension EndNodeCommand {
  struct Describe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "All that is known of one end node: health, roots, tokens, functions, what waits for it.")

    @Argument(help: "The end node's name or id.", completion: NameCompletion.endNodes) var name: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        var rack = try await coordinator.machines()
        let node = try rack.endNodes.known(name)
        let functions = ListFunctionsRequest { $0.endNode = node.id }
        rack.functions = try await coordinator.functions(functions, endNode: node).functions
        rack.claims = try await coordinator.waitingClaims()
        common.output.show(node) { rack.describe(node).printed() }
      }
    }
  }
}

extension FunctionCommand {
  struct Describe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "All that is known of one function: grant, mediation, what each host reports, errors.")

    @Argument(
      help: "The function's id, as in `iov function list` or `iov orphan list`.", completion: NameCompletion.functions)
    var id: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let rack = try await coordinator.machines()
        let near = try await coordinator.functions(ListFunctionsRequest { $0.prefix = id }).functions
        if let function = near.first(where: { $0.assignment?.function == id }) {
          common.output.show(function) { rack.describe(function).printed() }
        } else if let orphan = rack.orphans?.first(where: { $0.functionID == id }) {
          common.output.show(orphan) { rack.describe(orphan).printed() }
        } else {
          let granted = try await coordinator.functions(beside: id).map(\.function)
          let known = granted + (rack.orphans ?? []).map(\.functionID)
          throw RPCError(.notFound, "no function '\(id)'" + suggestion(for: id, among: known, of: "function"))
        }
      }
    }
  }
}

extension ClaimCommand {
  struct Describe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "All that is known of one claim: what it asks for, what it holds or waits for, what each host reports.")

    @Argument(help: "The claim's name.", completion: NameCompletion.claims) var name: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let claim = try await coordinator.claim(named: name)
        var rack = try await coordinator.machines()
        rack.functions = try await coordinator.functions(ListFunctionsRequest { $0.claim = name }).functions
        rack.claims = try await coordinator.sources(of: claim) + coordinator.parts(of: claim)
        common.output.show(claim) { rack.describe(claim).printed() }
      }
    }
  }
}

extension Rack {
  func knownHost(_ name: String) throws(RPCError) -> Host {
    guard let host = host(named: name) else {
      throw RPCError(.notFound, "no host '\(name)'" + suggestion(for: name, among: hosts.map(\.name), of: "host"))
    }
    return host
  }
}
