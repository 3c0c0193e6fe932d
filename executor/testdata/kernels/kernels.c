// What rewriting costs is measured on these, each a loop of some kind of work.
// clang --target=wasm32-wasi -O2 -o kernels.wasm kernels.c -lm
// clang --target=wasm32-wasi -O2 -msimd128 -o kernels-simd.wasm kernels.c -lm
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#define X(n) __attribute__((export_name(#n), noinline))
X(collatz) uint64_t collatz(uint32_t n){ uint64_t s=0; for(uint32_t i=1;i<n;i++){uint64_t x=i; while(x!=1){ x = x&1 ? 3*x+1 : x/2; s++; }} return s; }
static double A[300*300],B[300*300],C[300*300];
X(matmul) uint64_t matmul(uint32_t n){ for(int i=0;i<90000;i++){A[i]=i*0.5;B[i]=90000-i;}
 for(uint32_t i=0;i<n;i++)for(uint32_t j=0;j<n;j++){double s=0;for(uint32_t k=0;k<n;k++)s+=A[i*n+k]*B[k*n+j];C[i*n+j]=s;} uint64_t r; memcpy(&r,&C[n+1],8); return r; }
X(saxpy) uint64_t saxpy(uint32_t n){ for(int i=0;i<90000;i++){A[i]=i*0.5;B[i]=90000-i;}
 for(uint32_t r=0;r<n;r++)for(int i=0;i<90000;i++)A[i]=A[i]*1.0000001+B[i]; uint64_t r; memcpy(&r,&A[77],8); return r; }
static uint8_t S[4000000];
X(sieve) uint64_t sieve(uint32_t n){ memset(S,0,sizeof S); uint64_t c=0; for(uint32_t i=2;i<n;i++){ if(!S[i]){c++; for(uint64_t j=(uint64_t)i*i;j<n;j+=i)S[j]=1;}} return c; }
X(mix) uint64_t mix(uint32_t n){ uint32_t a=1,b=2,c=3,d=4; for(uint32_t i=0;i<n;i++){ a+=b; d^=a; d=(d<<16)|(d>>16); c+=d; b^=c; b=(b<<12)|(b>>20); a+=b; d^=a; d=(d<<8)|(d>>24); c+=d; b^=c; b=(b<<7)|(b>>25);} return ((uint64_t)a<<32)|d; }
X(fib) uint64_t fib(uint32_t n){ return n<2?n:fib(n-1)+fib(n-2); }
static int cmp(const void*a,const void*b){uint32_t x=*(uint32_t*)a,y=*(uint32_t*)b;return x<y?-1:x>y;}
static uint32_t Q[500000];
X(sort) uint64_t sortq(uint32_t n){ uint32_t x=1; for(uint32_t i=0;i<n;i++){x=x*1664525+1013904223;Q[i]=x;} qsort(Q,n,4,cmp); return Q[n/2]; }
X(nbody) uint64_t nbody(uint32_t n){ double p[5][3]={{0,0,0},{4.8,-1.1,-.1},{8.3,4.1,-.4},{12.8,-15.1,-.2},{15.3,-25.9,.1}},v[5][3]={{0,0,0},{.6,2.8,-.02},{-1.0,1.8,.008},{1.0,.8,-.01},{.9,.5,-.03}},m[5]={39,.03,.01,.001,.002};
 for(uint32_t s=0;s<n;s++){ for(int i=0;i<5;i++)for(int j=i+1;j<5;j++){ double dx=p[i][0]-p[j][0],dy=p[i][1]-p[j][1],dz=p[i][2]-p[j][2]; double d2=dx*dx+dy*dy+dz*dz; double mag=.001/(d2*sqrt(d2)); v[i][0]-=dx*m[j]*mag;v[i][1]-=dy*m[j]*mag;v[i][2]-=dz*m[j]*mag;v[j][0]+=dx*m[i]*mag;v[j][1]+=dy*m[i]*mag;v[j][2]+=dz*m[i]*mag;} for(int i=0;i<5;i++)for(int k=0;k<3;k++)p[i][k]+=.001*v[i][k]; } uint64_t r; memcpy(&r,&p[0][0],8); return r; }
X(mandel) uint64_t mandel(uint32_t n){ uint64_t t=0; for(uint32_t y=0;y<n;y++)for(uint32_t x=0;x<n;x++){ double cr=2.0*x/n-1.5,ci=2.0*y/n-1,zr=0,zi=0; int k=0; while(k<50&&zr*zr+zi*zi<4){double t2=zr*zr-zi*zi+cr; zi=2*zr*zi+ci; zr=t2; k++;} t+=k;} return t; }
int main(){return 0;}
