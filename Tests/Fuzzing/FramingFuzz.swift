/// A body gives the same messages in whatever pieces it comes. The first byte is the size of the pieces.
func framingFuzz(_ bytes: UnsafeRawBufferPointer) {
  var input = FuzzInput(bytes)
  let pieceByteCount = Int(input.byte())
  let body = input.rest
  let (inOnePiece, inPieces) = (
    messages(of: body, pieceByteCount: 0), messages(of: body, pieceByteCount: pieceByteCount)
  )
  precondition(inOnePiece == inPieces, "a body is another one in pieces of \(pieceByteCount) bytes")
  precondition(inOnePiece.messages.reduce(0) { $0 + $1.count + MessageFramer.prefixByteCount } <= body.count)
}

private struct Outcome: Equatable {
  var messages: [[UInt8]] = []
  var areCompressed: [Bool] = []
  var error: RPCError?
  var isMidMessage = false
}

private func messages(of body: UnsafeRawBufferPointer, pieceByteCount: Int) -> Outcome {
  var framer = MessageFramer(maximumByteCount: 4096)
  var outcome = Outcome()
  var input = FuzzInput(body)
  input.forEachPiece(of: pieceByteCount) { piece in
    framer.append(piece)
    do throws(RPCError) {
      while let message = try framer.next() {
        outcome.messages.append(Array(message.bytes))
        outcome.areCompressed.append(message.isCompressed)
      }
      return true
    } catch {
      outcome.error = error
      return false
    }
  }
  // After an error the stream is over; what is left does not matter.
  outcome.isMidMessage = outcome.error == nil && framer.isMidMessage
  return outcome
}
