import ArgumentParser
import Glibc
import Services

extension HostCommand {
  struct ConfirmDead: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Say that a host is off or destroyed, so that what it held is free for others.",
      discussion: """
        A host that is away may still be using its functions, so nothing of it is given to others until somebody knows \
        that nothing runs on it any more. This must be true: if it is not, two holders use one function. Shows what would \
        become free and asks for the host's name as confirmation; scripts give --yes.
        """)

    @Argument(help: "The host's name.", completion: NameCompletion.hosts) var name: String
    @OptionGroup var confirmation: ConfirmationOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let rack = try await coordinator.surroundings(of: name)
        let host = try rack.knownHost(name)
        guard host.state != .dead else { return show(host, common) }
        guard host.state != .connected else {
          throw RPCError(
            .failedPrecondition, "host '\(name)' is connected: its agent is alive, so the host is not dead")
        }
        try confirmation.confirm(typing: name, rack.consequences(ofDeathOf: host))
        // The run that was shown, not one that has begun since.
        let request = ConfirmHostDeadRequest {
          $0.host = name
          $0.bootId = host.bootId
        }
        show(
          try await coordinator.ask {
            try await coordinator.operations.confirmHostDead(request, options: .command)
          }, common)
      }
    }
  }

  struct Fence: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Have the coordinator's fence command switch a host off, and take it for dead if that succeeds.",
      discussion: """
        The command stands in the coordinator's configuration. Asks for the host's name as confirmation when there is a \
        terminal.
        """)

    @Argument(help: "The host's name.", completion: NameCompletion.hosts) var name: String
    @OptionGroup var confirmation: ConfirmationOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let rack = try await coordinator.surroundings(of: name)
        let host = try rack.knownHost(name)
        if isatty(STDIN_FILENO) == 1 {
          try confirmation.confirm(typing: name, rack.consequences(ofDeathOf: host))
        }
        // Asked once: a command that was broken off may have switched the host off, and must not do it to the next run.
        do {
          let request = FenceHostRequest { $0.host = name }
          let options = CallOptions(timeout: .seconds(300))
          show(try await coordinator.operations.fenceHost(request, options: options), common)
        } catch let error as RPCError where error.code == .unavailable || error.code == .deadlineExceeded {
          throw RPCError(
            error.code,
            "\(error.message); whether '\(name)' was fenced is not known: iov host describe \(name)")
        }
      }
    }
  }

  struct Rescan: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Have a host look for devices anew.",
      discussion: """
        Devices that come, change or go are noticed by themselves. This is for what no event tells, such as firmware that was         switched to another number of functions, and tries again what failed. See `iov endnode list` afterwards.
        """)

    @Argument(help: "The host's name.", completion: NameCompletion.hosts) var name: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let host = try await coordinator.ask {
          try await coordinator.operations.rescanHost(RescanHostRequest { $0.host = name }, options: .command)
        }
        common.output.show(host) { print("host \(name) looks for its devices") }
      }
    }
  }

  struct Forget: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Forget a host that will not come back.",
      discussion:
        "It must be dead, and no claim may be for it or held by it. Its name is free for another machine then.")

    @Argument(help: "The host's name.", completion: NameCompletion.hosts) var name: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let host = try await coordinator.machines().knownHost(name)
        let forgotten = try await coordinator.ask { isAgain in
          do {
            return try await coordinator.operations.forgetHost(ForgetHostRequest { $0.host = name }, options: .command)
          } catch let error as RPCError where isAgain && error.code == .notFound {
            return host
          }
        }
        common.output.show(forgotten) { print("host \(name) is forgotten") }
      }
    }
  }
}

private func show(_ host: Host, _ common: CommonOptions) {
  common.output.show(host) {
    print("host \(host.name) is \(host.state.word)" + (host.death.map { ": \($0.reason)" } ?? ""))
  }
}

extension Coordinator {
  /// A host with what it has to do with.
  func surroundings(of host: String) async throws -> Rack {
    var rack = try await machines()
    rack.functions = try await functions(ListFunctionsRequest { $0.host = host }).functions
    rack.claims = try await waitingClaims()
    return rack
  }
}

extension Rack {
  /// What somebody should know before this host is taken for dead.
  func consequences(ofDeathOf host: Host) -> [String] {
    var text = Description()
    text.facts([("Host", "\(host.name), \(state(of: host))"), ("Boot", host.bootId)])
    let served = functions.filter { $0.isServed(from: host.name) }.map(\.row)
    text.section("Taken from these claims, which get another function", AssignedFunction.heading, served)
    let kept = functions.filter { $0.isHeld(on: host.name) && !$0.releasing }.map(\.row)
    text.section("For this host, and set up again when it comes back", AssignedFunction.heading, kept)
    let waiting = claims.filter { $0.waits(for: host.name) }.map(\.waitingRow)
    text.section("Wait for this host, and may go on", ["CLAIM", "PHASE", "WHY"], waiting)
    if served.isEmpty, kept.isEmpty, waiting.isEmpty { text.note("Nothing is held by it, and nothing waits for it.") }
    return text.lines
  }
}
