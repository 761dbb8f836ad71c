import Foundation
import SwiftProtobuf

// The messages that `iov-bench codec --save DIRECTORY` wrote, by swift-protobuf. Prints the same figures.
//
//   codec DIRECTORY SECONDS

guard CommandLine.arguments.count == 3, let seconds = Double(CommandLine.arguments[2]) else {
  print("usage: codec DIRECTORY SECONDS")
  exit(64)
}
let directory = URL(filePath: CommandLine.arguments[1])

func nanosecondsEach(_ body: () -> Int) -> Double {
  var (runs, sum, batch) = (0, 0, 1)
  let begun = DispatchTime.now().uptimeNanoseconds
  var now = begun
  while Double(now - begun) < seconds * 1e9 {
    for _ in 0..<batch { sum &+= body() }
    runs += batch
    if now - begun < 1_000_000 { batch *= 2 }
    now = DispatchTime.now().uptimeNanoseconds
  }
  precondition(sum > 0)
  return Double(now - begun) / Double(runs)
}

func measure<Value: SwiftProtobuf.Message>(_ name: String, _ type: Value.Type) throws {
  let bytes = [UInt8](try Data(contentsOf: directory.appending(path: name)))
  let message = try Value(serializedBytes: bytes)
  let again: [UInt8] = try message.serializedBytes()
  precondition(again.count == bytes.count, "\(name) is another message here")
  print("\(name)_bytes \(bytes.count)")
  // Into an array of bytes and from one, as the mesh does.
  print("\(name)_encode_nanoseconds", nanosecondsEach { ((try? message.serializedBytes()) as [UInt8]?)?.count ?? 0 })
  print("\(name)_decode_nanoseconds", nanosecondsEach { (try? Value(serializedBytes: bytes)) == nil ? 0 : 1 })
}

try measure("inventory", Iov_V1_ListFunctionsResponse.self)
try measure("claim", Iov_V1_Claim.self)
try measure("heartbeat", Iov_V1_AgentMessage.self)
