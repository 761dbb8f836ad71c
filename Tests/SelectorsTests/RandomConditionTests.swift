import Messages
import Testing

@testable import Selectors

/// Draws the same for the same seed (SplitMix64).
private struct Dice: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[Int.random(in: 0..<elements.count, using: &self)]
  }
  mutating func roll(_ count: Int) -> Int { Int.random(in: 0..<count, using: &self) }
}

/// Conditions as a parser could have made them; names and types mean nothing.
extension Dice {
  mutating func expression(deep: Int) -> Expression {
    switch deep > 0 ? roll(8) : 3 + roll(5) {
    case 0: .any((0..<2 + roll(2)).map { _ in expression(deep: deep - 1) })
    case 1: .all((0..<2 + roll(2)).map { _ in expression(deep: deep - 1) })
    case 2: .not(expression(deep: deep - 1))
    case 3: .comparison(operand(), pick(Comparison.allCases), operand())
    case 4: .membership(operand(), .list((0...roll(3)).map { _ in constant() }))
    case 5: .membership(operand(), .operand(operand()))
    case 6: .presence(name())
    default: .truth(operand())
    }
  }

  private mutating func operand() -> Operand { roll(2) == 0 ? name() : roll(8) == 0 ? located(.labels) : constant() }

  private mutating func name() -> Operand {
    let names = ["class", "free.functions", "a.b.c-d", "_", "hasty", "not-so", "x9"]
    return roll(2) == 0 ? located(.field(pick(names))) : located(.label(pick(names + texts)))
  }

  private mutating func constant() -> Operand {
    switch roll(3) {
    case 0: located(.text(pick(texts)))
    case 1: located(.number(pick(["0", "10G", "1.5GiB", "100MB/s", "00", "1.2.3", "7x7"])))
    default: located(.bool(roll(2) == 0))
    }
  }

  private func located(_ kind: Operand.Kind) -> Operand { Operand(kind: kind, place: 0..<0) }
}

private let texts = [
  "", "a", "rack", "1", "\"", "\\", "\\\"", "'", "é", "e\u{301}", "\"\u{301}", "\\\u{301}", "👩‍👩‍👧", "] or true",
  "\u{FEFF}", "and",
]

@Suite struct RandomConditionTests {
  @Test(arguments: 0..<20 as Range<UInt64>) func whatIsPrintedIsReadAsTheSame(seed: UInt64) throws {
    var dice = Dice(state: seed)
    for _ in 0..<200 {
      let expression = dice.expression(deep: 4)
      let text = expression.description
      guard text.utf8.count <= Expression.longest else { continue }
      #expect(try Expression(parsing: text) == expression, "\(text)")
      #expect(try Expression(parsing: text).description == text)
      #expect(Expression.normalized(text) == text)
    }
  }

  /// However deep a condition is, it can be read again from its one spelling.
  @Test func theOneSpellingIsNoDeeper() throws {
    var dice = Dice(state: 7)
    for _ in 0..<2000 {
      var text = "true"
      for _ in 0..<dice.roll(60) {
        text = dice.pick(["(\(text))", "!\(text)", "not \(text)", "(\(text) && a not in [1])", "(\(text)||x)"])
      }
      guard let expression = try? Expression(parsing: text) else { continue }
      #expect(try Expression(parsing: expression.description) == expression)
    }
  }

  @Test func anotherSpellingIsTheSameCondition() {
    let one = Expression.normalized("  class=='sas'&&!(multi_root||labels['rack']=='r1') && not(a in b)\n")
    #expect(one == #"class == "sas" and not (multi_root or label.rack == "r1") and a not in b"#)
    #expect(Expression.normalized("no condition at all") == "no condition at all")
  }

  /// The laws of and, or, not hold whatever is there or not.
  @Test(arguments: 0..<10 as Range<UInt64>) func conditionsKeepTheLawsOfLogic(seed: UInt64) throws {
    var dice = Dice(state: seed)
    let atoms = [
      "multi_root", "numa_node > 0", "has(driver)", #"label.rack < "r10""#, #""rack" in labels"#, "free.size > 1GiB",
      #"class in ["sas"]"#, #""direct" in paths"#, #"driver != "x""#, "true", #"label.none == label.rack"#,
    ]
    for _ in 0..<100 {
      let (a, b, c) = (dice.pick(atoms), dice.pick(atoms), dice.pick(atoms))
      for node in [card, disk, EndNode()] {
        func same(_ one: String, _ other: String) throws {
          #expect(try matches(one, node) == matches(other, node), "\(one) and \(other)")
        }
        try same("not (\(a) and \(b))", "not \(a) or not \(b)")
        try same("not (\(a) or \(b))", "not \(a) and not \(b)")
        try same("\(a) and (\(b) or \(c))", "\(a) and \(b) or \(a) and \(c)")
        try same("not not \(a)", a)
      }
    }
  }

  /// What is said to be never so is so of nothing, and the end nodes here meet much of the rest.
  @Test(arguments: 0..<10 as Range<UInt64>) func nothingMeetsWhatIsNeverSo(seed: UInt64) throws {
    var dice = Dice(state: seed)
    let nodes = (0..<6).map { number in
      EndNode {
        if number % 3 > 0 { $0.labels["rack"] = "r\(number % 3)" }
        $0.capacity = Capacity { $0.functions = UInt32(number) }
        $0.capabilities = Capabilities { $0.multiRoot = number % 2 == 0 }
      }
    }
    func condition(_ deep: Int) -> String {
      switch deep > 0 ? dice.roll(5) : 4 {
      case 0: "(\(condition(deep - 1)) and \(condition(deep - 1)))"
      case 1: "(\(condition(deep - 1)) and \(condition(deep - 1)) and \(condition(deep - 1)))"
      case 2: "(\(condition(deep - 1)) or \(condition(deep - 1)))"
      case 3: "not (\(condition(deep - 1)))"
      default:
        dice.pick([
          "label.rack == 'r\(dice.roll(3))'", "label.rack in ['r\(dice.roll(3))', 'r\(dice.roll(3))']",
          "capacity.functions \(dice.pick(Comparison.allCases).rawValue) \(dice.roll(6))", "multi_root",
          "has(label.rack)", "capacity.functions > free.functions", "'direct' in paths", "label.rack < 'r2'", "false",
        ])
      }
    }
    var (never, met) = (0, 0)
    for _ in 0..<300 {
      let text = condition(3)
      let isMet = try nodes.contains { try matches(text, $0) }
      if isMet { met += 1 }
      guard let error = contradiction(in: text) else { continue }
      never += 1
      #expect(!isMet, "\(text): \(error.message)")
    }
    #expect(never > 10 && met > 100)
  }

  @Test(arguments: 0..<20 as Range<UInt64>) func noBytesAreTooMuch(seed: UInt64) {
    var dice = Dice(state: seed)
    let pieces = [
      "class", "==", "!=", "<", ">=", "&&", "||", "!", "(", ")", "[", "]", ",", ".", "and", "or", "not", "in", "has",
      "labels",
      "label", "true", "\"", "'", "\\", "10G", "1.5", " ", "\n", "\u{0}", "é", "/s", "=", "free.functions", "paths",
      "\u{301}",
    ]
    for _ in 0..<500 {
      let text =
        dice.roll(2) == 0
        ? (0..<dice.roll(30)).map { _ in dice.pick(pieces) }.joined(separator: dice.pick(["", " "]))
        : String(decoding: (0..<dice.roll(40)).map { _ in UInt8(truncatingIfNeeded: dice.next()) }, as: UTF8.self)
      if let error = problem(with: text) {
        #expect(error.column >= 1 && error.column <= text.count + 1 && error.message.contains("^"), "\(text)")
      } else {
        #expect(problem(with: Expression.normalized(text)) == nil)
        _ = try? matches(text, disk)
      }
    }
  }
}
