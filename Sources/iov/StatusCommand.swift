import ArgumentParser
import Services

struct StatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "The rack at a glance, and whether anything needs attention.",
    discussion: """
      Hosts that are away or dead, plugins that fail, unhealthy end nodes and functions, claims that wait or fail and orphans need \
      attention; a claim that is just being set up or released does not.

      Exit code 0: all is well; 1: something needs attention; 3: the coordinator cannot be reached.
      """)

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await withCoordinator(common.connection) { coordinator in
      let status = RackStatus(try await coordinator.wholeRack())
      common.output.show(status) {
        for line in status.lines { print(line) }
      }
      guard status.attention.isEmpty else { throw ExitCode.needsAttention }
    }
  }
}
