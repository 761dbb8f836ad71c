import ArgumentParser
import Services

/// The client's side.
struct MeshCall: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "call",
    abstract: "Calls any server of iov.bench.v1.Benchmark, and prints one figure a line.",
    subcommands: [
      UnaryLoad.self, BidirectionalLoad.self, DownloadLoad.self, UploadLoad.self, IdleConnections.self,
    ])
}

struct UnaryLoad: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unary", abstract: "One message out, the same one back, again and again on every stream.")

  @OptionGroup var options: LoadOptions

  func run() async throws {
    let message = Payload(encodedByteCount: options.messageBytes)
    try await Measurement.of(options) { channel, stopwatch in
      var tally = Tally()
      while stopwatch.goesOn(after: tally) {
        let begun = monotonicNanoseconds()
        _ = try await channel.unary(BenchmarkMethods.unary, message)
        if stopwatch.phase == .measuring { tally.count(since: begun) }
      }
      return tally
    }.printMessages()
  }
}

struct BidirectionalLoad: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bidirectional",
    abstract: "One call for each stream; the next message goes out when the last one has come back.")

  @OptionGroup var options: LoadOptions

  func run() async throws {
    let message = Payload(encodedByteCount: options.messageBytes)
    try await Measurement.of(options) { channel, stopwatch in
      var tally = Tally()
      let call = try await channel.bidirectional(BenchmarkMethods.bidirectional)
      var responses = call.responses.makeAsyncIterator()
      while stopwatch.goesOn(after: tally) {
        let begun = monotonicNanoseconds()
        try await call.write(message)
        guard try await responses.next() != nil else { throw RPCError(.dataLoss, "the server ended the echo") }
        if stopwatch.phase == .measuring { tally.count(since: begun) }
      }
      call.finishWriting()
      return tally
    }.printMessages()
  }
}

struct DownloadLoad: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "download", abstract: "Messages from the server, as fast as they come.")

  @OptionGroup var options: LoadOptions

  func run() async throws {
    let message = Payload(encodedByteCount: options.messageBytes)
    try await Measurement.of(options) { channel, stopwatch in
      var tally = Tally()
      while stopwatch.goesOn(after: tally) {
        for try await response in try await channel.serverStreaming(BenchmarkMethods.download, message) {
          if stopwatch.phase == .measuring { tally.count(response) }
          if !stopwatch.goesOn(after: tally) { break }
        }
      }
      return tally
    }.printBytes()
  }
}

struct UploadLoad: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "upload", abstract: "Messages to the server, as fast as it takes them.")

  @OptionGroup var options: LoadOptions

  func run() async throws {
    let message = Payload(encodedByteCount: options.messageBytes)
    try await Measurement.of(options) { channel, stopwatch in
      var tally = Tally()
      let call = try await channel.clientStreaming(BenchmarkMethods.upload)
      while stopwatch.goesOn(after: tally) {
        try await call.write(message)
        if stopwatch.phase == .measuring { tally.count(message) }
      }
      _ = try await call.response()
      return tally
    }.printBytes()
  }
}

extension Tally {
  fileprivate mutating func count(_ message: Payload) {
    messages += 1
    bytes += UInt64(message.data.count)
  }

  fileprivate mutating func count(since begun: UInt64) {
    latencies.record(nanoseconds: monotonicNanoseconds() - begun)
    messages += 1
  }
}
