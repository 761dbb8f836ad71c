import ArgumentParser
import Services

struct IdleConnections: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "idle",
    abstract: "Opens connections, makes one call on each, and holds them without another.",
    discussion: "What a connection takes of the server's memory is the difference between before and after.")

  @OptionGroup var options: LoadOptions

  func run() async throws {
    let server = options.serverProcess.map(ObservedProcess.init)
    let message = Payload(encodedByteCount: options.messageBytes)
    // What the first call of all makes and keeps belongs to no connection.
    let first = try options.makeChannels()[0]
    _ = try await first.unary(BenchmarkMethods.unary, message)
    let before = server?.residentKibibytes

    let channels = try options.makeChannels()
    let begun = monotonicNanoseconds()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for channel in channels {
        group.addTask { _ = try await channel.unary(BenchmarkMethods.unary, message) }
      }
      try await group.waitForAll()
    }
    report("seconds_to_open", Double(monotonicNanoseconds() - begun) / 1e9)

    try await Task.sleep(for: .seconds(options.seconds))
    if let before, let after = server?.residentKibibytes {
      report("server_kibibytes_per_connection", Double(after - before) / Double(channels.count))
    }
    // All at once: some servers do not answer TLS's goodbye, for which each channel waits a moment.
    await withTaskGroup(of: Void.self) { group in
      for channel in channels + [first] { group.addTask { await channel.close() } }
    }
  }
}
