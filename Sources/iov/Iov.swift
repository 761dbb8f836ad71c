import ArgumentParser
import Services

@main
struct Iov: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "iov",
    abstract: "Virtual functions of the rack's devices: claim them, see them, release them.",
    discussion: """
      A claim asks for one function of a shared device (an end node) on a host of the rack. The coordinator grants it by \
      the fastest path that the claim allows: direct where the host holds the device, mediated over the network where \
      another host does. 

      Start here:
        iov doctor --config /etc/iov/agent.yaml     on each host, before it joins
        iov status
        iov claim create web --class ethernet --host host-b --wait
        iov claim create data --class sata --host host-a --size 64MiB --wait
        iov claim describe web
        iov claim delete web --wait

      Over TCP the coordinator wants to know who asks: --tls (or $IOV_TLS) names a directory that `iov pki issue operator` \
      made. Over a Unix socket it knows.

      Completion of commands and of the names of claims, hosts, end nodes and functions:
        bash: iov --generate-completion-script bash >/etc/bash_completion.d/iov
        zsh:  iov --generate-completion-script zsh >/usr/share/zsh/vendor-completions/_iov
        fish: iov --generate-completion-script fish >~/.config/fish/completions/iov.fish
      Names come from the coordinator of --coordinator or $IOV_COORDINATOR.

      A coordinator that restarts is waited for (--connect-timeout), and watches and waits go on where they were.

      Exit codes: 0 done, or all is well; 1 refused, the message says why, or something needs attention (status, \
      doctor); 2 not found; 3 the coordinator cannot be reached; 4 the wait timed out; 5 the plan is stale; 64 the command line is wrong.
      """,
    version: iovmeshVersion,
    subcommands: [
      StatusCommand.self, ClaimCommand.self, HostCommand.self, EndNodeCommand.self, FunctionCommand.self,
      OrphanCommand.self, AuditCommand.self, TenantCommand.self, RebalanceCommand.self, BackupCommand.self,
      RestoreCommand.self,
      PKICommand.self,
      DoctorCommand.self,
      VersionCommand.self,
    ])
}

/// Options that every command takes.
struct CommonOptions: ParsableArguments {
  @OptionGroup var connection: ConnectionOptions

  @Option(name: [.customShort("o"), .long], help: "How to print: a table for people, the others for programs.")
  var output: OutputFormat = .table
}

/// Options that every command that lists takes.
struct ListOptions: ParsableArguments {
  @OptionGroup var connection: ConnectionOptions

  @Option(
    name: [.customShort("o"), .long], help: "How to print: a table for people, names alone, the others for programs.")
  var output: ListFormat = .table
}

struct VersionCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "version", abstract: "The version of this program and of the coordinator.")

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await withCoordinator(common.connection) { coordinator in
      let cluster = try await coordinator.ask {
        try await coordinator.inventory.getCluster(GetClusterRequest(), options: .command)
      }
      common.output.show(cluster) {
        printTable([
          ["WHAT", "VERSION", "CLUSTER", "EPOCH"],
          ["iov", iovmeshVersion, "", ""],
          ["coordinator", cluster.coordinatorVersion, cluster.id, String(cluster.epoch)],
        ])
      }
    }
  }
}
