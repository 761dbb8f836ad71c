import NIOCore
import Testing

@testable import MeshRPC

@Suite struct SpareBufferTests {
  private let large = 64 << 10

  private func address(_ buffer: ByteBuffer) -> UInt {
    buffer.withVeryUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
  }

  @Test func memoryThatHasLeftIsUsedAgain() {
    let spare = SpareBuffers()
    var first: ByteBuffer? = spare.buffer(large)
    let place = first.map(address)
    if let first { spare.keep(first) }
    first = nil
    #expect(address(spare.buffer(large)) == place)
  }

  @Test func memoryThatIsStillOnItsWayIsNotOverwritten() throws {
    let spare = SpareBuffers()
    var sent = spare.buffer(large)
    sent.writeRepeatingByte(1, count: large)
    let slice = try #require(sent.getSlice(at: 0, length: large))
    spare.keep(sent)
    var next = spare.buffer(large)
    next.writeRepeatingByte(2, count: large)
    #expect(slice.readableBytesView.allSatisfy { $0 == 1 })
  }

  @Test func nobodyGetsWhatAnotherHas() {
    let spare = SpareBuffers()
    for buffer in [spare.buffer(large), spare.buffer(large)] { spare.keep(buffer) }
    let (one, other) = (spare.buffer(large), spare.buffer(large))
    #expect(address(one) != address(other))
  }

  @Test func onlySoMuchIsKept() {
    let spare = SpareBuffers()
    let many = (0..<100).map { _ in spare.buffer(large) }
    for buffer in many { spare.keep(buffer) }
    #expect(spare.byteCount <= SpareBuffers.maximumByteCount)
    #expect(spare.byteCount > 0)
    spare.keep(ByteBufferAllocator().buffer(capacity: 8 << 20))
    #expect(spare.byteCount <= SpareBuffers.maximumByteCount)
  }

  @Test(arguments: [100, 8 << 10, (64 << 10) + 5, 256 << 10, 5 << 20])
  func thereIsRoomForWhatIsAsked(byteCount: Int) {
    let spare = SpareBuffers()
    for _ in 0..<3 {
      let buffer = spare.buffer(byteCount)
      #expect(buffer.readableBytes == 0)
      #expect(buffer.writableBytes >= byteCount)
      spare.keep(buffer)
    }
  }
}
