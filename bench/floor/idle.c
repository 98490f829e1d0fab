// Does nothing until it is killed. It is linked statically: of a page that thousands
// of processes share the kernel must look at every user when one of them exits.
#include <unistd.h>

int main(void) {
	for (;;)
		pause();
}
