package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
)

// A mutant is a file in which one condition is another.
type mutant struct {
	file       string
	line       int
	function   string
	kind       string
	text       []byte // the file as it is
	start, end int    // what is replaced
	by         string
	nth        int // which one it is of those that read the same in the function
}

// key names the mutant by what it does, so that its name stays the same when lines
// are added above it.
func (m *mutant) key() string {
	s := fmt.Sprintf("%s %s: %s: %s", m.file, m.function, m.kind, oneLine(string(m.text[m.start:m.end])))
	if m.nth > 0 {
		s += fmt.Sprintf(" (%d)", m.nth+1)
	}
	return s
}

func (m mutant) String() string {
	return strings.Replace(m.key(), m.file, fmt.Sprint(m.file, ":", m.line), 1)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// source returns the file as the mutant has it.
func (m *mutant) source() []byte {
	return slices.Concat(m.text[:m.start], []byte(m.by), m.text[m.end:])
}

// mutantsOf returns the mutants of a file, in their order; of the named functions
// only, if there are any.
func mutantsOf(file string, functions []string) ([]mutant, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	b := &breaker{fset: fset, file: file, text: text, inner: map[*ast.BinaryExpr]bool{}}
	found := map[string]bool{}
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil || len(functions) > 0 && !slices.Contains(functions, f.Name.Name) {
			continue
		}
		found[f.Name.Name] = true
		b.function = nameOf(f)
		ast.Inspect(f.Body, b.visit)
	}
	for _, name := range functions {
		if !found[name] {
			return nil, fmt.Errorf("%s has no function %s", file, name)
		}
	}
	slices.SortStableFunc(b.mutants, func(a, b mutant) int { return a.start - b.start })
	seen := map[string]int{}
	for i := range b.mutants {
		m := &b.mutants[i]
		key := m.key()
		m.nth = seen[key]
		seen[key]++
	}
	return b.mutants, nil
}

// nameOf returns the name of a function, with its receiver's type before it.
func nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver := f.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	if name, ok := receiver.(*ast.Ident); ok {
		return name.Name + "." + f.Name.Name
	}
	return f.Name.Name
}

// breaker collects the mutants of a function.
type breaker struct {
	fset     *token.FileSet
	file     string
	text     []byte
	function string
	inner    map[*ast.BinaryExpr]bool // those that are part of a longer chain
	mutants  []mutant
}

func (b *breaker) offset(pos token.Pos) int { return b.fset.Position(pos).Offset }

// replace adds the mutant that has something else in the place of a node.
func (b *breaker) replace(kind string, node ast.Node, by string) {
	b.mutants = append(b.mutants, mutant{
		file: b.file, line: b.fset.Position(node.Pos()).Line, function: b.function, kind: kind,
		text: b.text, start: b.offset(node.Pos()), end: b.offset(node.End()), by: by,
	})
}

func (b *breaker) source(node ast.Node) string {
	return string(b.text[b.offset(node.Pos()):b.offset(node.End())])
}

func (b *breaker) visit(node ast.Node) bool {
	switch node := node.(type) {
	case *ast.IfStmt:
		b.condition(node.Cond)
	case *ast.ForStmt:
		if node.Cond != nil {
			b.negate(node.Cond)
		}
	case *ast.SwitchStmt:
		if node.Tag == nil {
			for _, clause := range node.Body.List {
				for _, condition := range clause.(*ast.CaseClause).List {
					b.condition(condition)
				}
			}
		}
	case *ast.BinaryExpr:
		b.binary(node)
	case *ast.UnaryExpr:
		if node.Op == token.NOT {
			b.replace("without !", node, b.source(node.X))
		}
	}
	return true
}

// condition breaks a condition that decides what is done: it is never true, or it is
// true when it should not be. Its names stay in use, so that the file compiles.
func (b *breaker) condition(cond ast.Expr) {
	b.replace("never", cond, "("+b.source(cond)+") && false")
	b.negate(cond)
}

// negate negates a condition, if that is not done by another operator.
func (b *breaker) negate(cond ast.Expr) {
	switch cond := cond.(type) {
	case *ast.BinaryExpr:
		if cond.Op != token.LAND && cond.Op != token.LOR {
			return
		}
	case *ast.UnaryExpr:
		if cond.Op == token.NOT {
			return
		}
	}
	b.replace("negated", cond, "!("+b.source(cond)+")")
}

// others are the operators that a comparison is given instead of its own: its
// negation, and the one with the other boundary.
var others = map[token.Token][]token.Token{
	token.EQL: {token.NEQ},
	token.NEQ: {token.EQL},
	token.LSS: {token.GEQ, token.LEQ},
	token.LEQ: {token.GTR, token.LSS},
	token.GTR: {token.LEQ, token.GEQ},
	token.GEQ: {token.LSS, token.GTR},
}

func (b *breaker) binary(e *ast.BinaryExpr) {
	if e.Op == token.LAND || e.Op == token.LOR {
		b.chain(e)
		return
	}
	for _, op := range others[e.Op] {
		b.replace(e.Op.String()+" is "+op.String(), e, b.source(e.X)+" "+op.String()+" "+b.source(e.Y))
	}
}

// chain drops each operand of a chain of && or of ||.
func (b *breaker) chain(e *ast.BinaryExpr) {
	if b.inner[e] {
		return
	}
	operands := []ast.Expr{e.Y}
	left := e.X
	for {
		inner, ok := left.(*ast.BinaryExpr)
		if !ok || inner.Op != e.Op {
			break
		}
		b.inner[inner] = true
		operands = append(operands, inner.Y)
		left = inner.X
	}
	operands = append(operands, left)
	slices.Reverse(operands)
	// The operand that is dropped stays in use.
	neutral := map[token.Token]string{token.LAND: "|| true", token.LOR: "&& false"}[e.Op]
	for i, dropped := range operands {
		var sources []string
		for j, operand := range operands {
			source := "(" + b.source(operand) + ")"
			if i == j {
				source = "(" + source + neutral + ")"
			}
			sources = append(sources, source)
		}
		b.replace("without "+oneLine(b.source(dropped)), e, "("+strings.Join(sources, " "+e.Op.String()+" ")+")")
	}
}
