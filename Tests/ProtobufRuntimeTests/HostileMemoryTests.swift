import CProtobufC
import Glibc
import Messages
import Testing

@testable import ProtobufRuntime

/// How much memory bytes of a peer's choice can take: measured where libprotobuf-c asks for it.
@Suite struct HostileMemoryTests {
  /// What grows a message beyond its size on the wire, by the number of elements.
  enum Flood: CaseIterable, Sendable {
    case emptySubmessages, nestedSubmessages, emptyStrings, unknownFields, packedNumbers, duplicates, mapEntries

    func bytes(_ count: Int) -> [UInt8] {
      func repeated(_ element: [UInt8]) -> [UInt8] { (0..<count).flatMap { _ in element } }
      return switch self {
      case .emptySubmessages: repeated(field(1, []))
      // Each is a claim with a status with a pending reason.
      case .nestedSubmessages: repeated(field(1, field(4, field(2, []))))
      case .emptyStrings: field(1, field(1, repeated(field(1, []))))
      case .unknownFields: repeated(field(100, 0))
      case .packedNumbers: field(1, field(3, field(5, [UInt8](repeating: 1, count: count))))
      case .duplicates: field(1, repeated(field(3, field(1, [0x61]))))
      case .mapEntries: field(1, field(3, field(4, repeated(field(3, [])))))
      }
    }
  }

  private func limitBytes(_ bytes: [UInt8]) -> Int { WireValidator(byteCount: bytes.count).limitBytes }

  private func isTaken(_ bytes: [UInt8]) -> Bool { (try? ListClaimsResponse(decoding: bytes)) != nil }

  /// All that libprotobuf-c allocates to unpack a list of claims, with nobody between it and the bytes.
  private func appetite(_ bytes: [UInt8]) -> Int {
    var asked = 0
    withUnsafeMutablePointer(to: &asked) { asked in
      var allocator = ProtobufCAllocator(
        alloc: { asked, byteCount in
          asked?.assumingMemoryBound(to: Int.self).pointee += byteCount
          return malloc(byteCount)
        },
        free: { _, memory in free(memory) }, allocator_data: asked)
      let message = protobuf_c_message_unpack(ListClaimsResponse.descriptor, &allocator, bytes.count, bytes)
      if let message { protobuf_c_message_free_unpacked(message, &allocator) }
    }
    return asked
  }

  @Test(arguments: Flood.allCases)
  func whatIsTakenStaysBelowItsLimit(flood: Flood) {
    // The most elements that are still taken, of some ten thousands.
    var taken = 1
    var refused = 1 << 16
    while refused - taken > taken / 50 + 1 {
      let middle = (taken + refused) / 2
      if isTaken(flood.bytes(middle)) { taken = middle } else { refused = middle }
    }
    let bytes = flood.bytes(taken)
    let appetite = appetite(bytes)
    #expect(appetite <= limitBytes(bytes), "\(flood), \(taken) elements: \(appetite) bytes for \(bytes.count)")
  }

  @Test func withoutTheLimitAFloodTakesManyTimesItsSize() {
    // Were it not so, the limit would be tested for nothing.
    let flood = Flood.emptySubmessages.bytes(1 << 20)
    #expect(appetite(flood) > 40 * flood.count)
    #expect(!isTaken(flood))
  }

  @Test func aSwiftValueIsNoMultipleOfWhatItWasCopiedFrom() throws {
    // So that the limit on what is unpacked is one on what is kept.
    let claims = try ListClaimsResponse(decoding: Flood.emptySubmessages.bytes(5000)).claims
    let copied = claims.capacity * MemoryLayout<Claim>.stride
    #expect(copied <= 4 * claims.count * Claim.descriptor.pointee.sizeof_message)
  }
}
