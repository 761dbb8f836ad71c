import Testing

@testable import Arbitration

@Suite struct OrderedSetTests {
  /// Sizes up to several pieces; a third of the elements come twice.
  @Test(arguments: [0, 1, 31, 32, 33, 63, 64, 65, 500])
  func isTheSameHoweverItCameToBe(size: Int) {
    let elements = (Array(0..<size) + Array(0..<size / 3)).shuffled()
    var one = OrderedSet<Int>(elements)
    var other = OrderedSet<Int>()
    for element in elements { other.insert(element) }
    #expect(Array(one) == Array(0..<size) && one.count == size)
    #expect(Array(other) == Array(one) && other.count == size)
    for element in elements.prefix(size / 2) {
      #expect(one.contains(element) == other.contains(element))
      #expect(one.remove(element) == other.remove(element))
      one.insert(element + size)
      other.insert(element + size)
    }
    #expect(Array(one) == Array(other) && one.count == other.count)
    #expect(one.first(after: nil) == other.first(after: nil))
    #expect(Array(one.elements(from: size)) == Array(other.elements(from: size)))
  }
}
