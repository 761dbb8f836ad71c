import ArgumentParser
import Foundation
import Services

/// The product's own messages, to bytes and back.
struct Codec: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "codec",
    abstract: "How long messages take to be encoded and decoded. Prints one figure a line.",
    discussion: "What is measured: an inventory of 256 functions, a claim, a heartbeat.")

  @Option(help: "Writes the encoded messages there, for another implementation to be measured on the same bytes.")
  var save: String?
  @Option(help: "How long each figure is measured.") var seconds = 0.3

  func run() throws {
    let store = FullStore(claims: 256, hosts: 8)
    try measure(
      "inventory",
      ListFunctionsResponse {
        $0.functions = (0..<256).map { number in AssignedFunction { $0.assignment = store.assignment(ofClaim: number) }
        }
      })
    try measure("claim", store.claim(9))
    try measure("heartbeat", AgentMessage { $0.kind = .heartbeat(Heartbeat { $0.sequence = 123_456 }) })
  }

  private func measure<Value: Message>(_ name: String, _ message: Value) throws {
    let bytes = message.encoded()
    if let save { try Data(bytes).write(to: URL(filePath: save).appending(path: name)) }
    report("\(name)_bytes", Double(bytes.count))
    report("\(name)_encode_nanoseconds", nanosecondsEach { message.encoded().count })
    try bytes.withUnsafeBytes { bytes in
      _ = try Value(decoding: bytes)
      report("\(name)_decode_nanoseconds", nanosecondsEach { (try? Value(decoding: bytes)) == nil ? 0 : 1 })
    }
  }

  /// - Parameter body: answers something that depends on what it did, so that it is not left out.
  private func nanosecondsEach(_ body: () -> Int) -> Double {
    var (runs, sum, batch) = (0, 0, 1)
    let begun = monotonicNanoseconds()
    var now = begun
    while Double(now - begun) < seconds * 1e9 {
      for _ in 0..<batch { sum &+= body() }
      runs += batch
      if now - begun < 1_000_000 { batch *= 2 }
      now = monotonicNanoseconds()
    }
    precondition(sum > 0)
    return Double(now - begun) / Double(runs)
  }
}
